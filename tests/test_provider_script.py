"""What can be scripted: faults, gates, latencies, refusal; and what the ledger says about clients that go away."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from grader.provider import Fault, Provider, ProviderProcess, peak
from tests.running_provider import body_of, http_client, running_provider, say

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def provider_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    with running_provider(tmp_path_factory.mktemp("provider")) as process:
        yield process


@pytest.fixture
def provider(provider_process: ProviderProcess) -> Iterator[Provider]:
    opened = provider_process.new_namespace()
    yield opened
    opened.close()


@pytest.fixture
def client(provider: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.base_url, api_key=provider.api_key, max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def http(provider: Provider) -> Iterator[httpx.Client]:
    with http_client(provider) as client:
        yield client


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_status_fault(client: openai.OpenAI, provider: Provider) -> None:
    with (
        provider.fault(Fault.status(429, retry_after=7, message="slow down")),
        pytest.raises(openai.RateLimitError) as e,
    ):
        say(client, "Hello")
    assert e.value.response.headers["retry-after"] == "7"
    assert e.value.body == {
        "message": "slow down",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    (call,) = provider.calls()
    assert (call.status, call.fault, call.price_usd, call.state) == (429, "status 429", 0, "finished")
    assert say(client, "Hello").choices


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_every_status_in_both_ways(client: openai.OpenAI, provider: Provider, status: int, stream: bool) -> None:
    with provider.fault(Fault.status(status)), pytest.raises(openai.APIStatusError) as raised:
        say(client, "Hello", stream=stream)
    assert raised.value.status_code == status


def test_faults_run_out(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.status(500), times=2):
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                say(client, "Hello")
        assert say(client, "Hello").choices


def test_faults_are_for_the_calls_they_match(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.status(500), "this", model="lab-large"):
        assert say(client, "that").choices
        assert say(client, "this", model="lab-small").choices
        assert client.models.list().data
        with pytest.raises(openai.InternalServerError):
            say(client, "all of this")


def test_the_latest_fault_rules(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.status(500)):
        with provider.fault(Fault.status(503)), pytest.raises(openai.APIStatusError, match="overloaded"):
            say(client, "Hello")
        with pytest.raises(openai.APIStatusError, match="had an error"):
            say(client, "Hello")


def test_faults_of_other_kinds_of_calls(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.status(503), kind="models"), pytest.raises(openai.APIStatusError):
        client.models.list()
    with provider.fault(Fault.status(503), kind="embeddings"), pytest.raises(openai.APIStatusError):
        client.embeddings.create(model="lab-embed", input="x")
    with provider.fault(Fault.status(503), kind=None), pytest.raises(openai.APIStatusError):
        client.models.list()


@pytest.mark.parametrize("stream", [False, True])
def test_disconnect(client: openai.OpenAI, provider: Provider, stream: bool) -> None:
    with provider.fault(Fault.disconnect()), pytest.raises(openai.APIConnectionError):
        say(client, "Hello", stream=stream)
    (call,) = provider.calls()
    assert (call.state, call.status, call.fault) == ("finished", None, "disconnect")


def test_malformed_is_200_and_no_json(http: httpx.Client, client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.malformed()):
        answer = http.post("/chat/completions", json=body_of("x"))
        assert answer.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        with pytest.raises(json.JSONDecodeError):
            list(say(client, "x", stream=True))


def test_html_and_raw(http: httpx.Client, provider: Provider) -> None:
    with provider.fault(Fault.html()):
        answer = http.post("/chat/completions", json=body_of("x"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    with provider.fault(Fault.raw('{"choices": []}')):
        assert http.post("/chat/completions", json=body_of("x")).json() == {"choices": []}


def test_empty_and_without_usage(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.empty()):
        assert say(client, "x").choices[0].message.content == ""
        chunks = list(say(client, "x", stream=True))
        assert not any(chunk.choices[0].delta.content for chunk in chunks)
    with provider.fault(Fault.no_usage()):
        assert say(client, "x").usage is None
        chunks = list(say(client, "x", stream=True, stream_options={"include_usage": True}))
        assert not any(chunk.usage for chunk in chunks)


def test_cut_answer(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.cut()), pytest.raises(openai.APIConnectionError):
        say(client, "x")
    (call,) = provider.calls()
    assert (call.state, call.fault) == ("finished", "cut")


def pieces_until_broken(stream: Iterator[openai.types.chat.ChatCompletionChunk]) -> tuple[list[str], Exception | None]:
    pieces: list[str] = []
    try:
        for chunk in stream:
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            assert not any(choice.finish_reason for choice in chunk.choices)
    except (httpx.HTTPError, openai.APIError) as error:
        return pieces, error
    except Exception as error:
        if type(error).__module__.startswith("httpx"):
            return pieces, error
        raise
    return pieces, None


def test_cut_stream(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.cut(after_tokens=3)):
        pieces, error = pieces_until_broken(say(client, "x", stream=True))
    assert len(pieces) == 3
    assert error is not None
    assert provider.calls()[0].tokens_sent == 3


def test_cleanly_cut_stream_only_lacks_its_end(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.cut(after_tokens=4, clean=True)):
        pieces, error = pieces_until_broken(say(client, "x", stream=True))
    assert (len(pieces), error) == (4, None)


def test_error_in_the_stream(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.error_event(after_tokens=1, message="upstream lost")):
        pieces, error = pieces_until_broken(say(client, "x", stream=True))
        assert len(pieces) == 1
        assert "upstream lost" in str(error)
        with pytest.raises(openai.InternalServerError):
            say(client, "x")


@pytest.mark.parametrize("stream", [False, True])
def test_dripping_outlives_read_timeouts(http: httpx.Client, provider: Provider, stream: bool) -> None:
    with (
        provider.fault(Fault.drip(0.01)),
        http.stream("POST", "/chat/completions", json=body_of("x", stream=stream)) as answer,
    ):
        blanks = answer.iter_raw()
        assert [next(blanks) for _ in range(5)]
    assert provider.wait_for(1, state="cancelled")


def test_a_client_that_leaves_a_hanging_call(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.hang()), pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1).chat.completions.create(
            model="lab-large", messages=[{"role": "user", "content": "x"}]
        )
    (call,) = provider.wait_for(1, state="cancelled")
    assert call.cancelled
    assert call.finished is not None
    assert call.finished > call.arrived
    assert (call.fault, call.status) == ("hang", None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_at_a_gate(client: openai.OpenAI, provider: Provider, stream: bool) -> None:
    with provider.gate() as gate, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1).chat.completions.create(
            model="lab-large", messages=[{"role": "user", "content": "x"}], stream=stream
        )
    (call,) = provider.wait_for(1, state="cancelled")
    assert call.content == ""
    del gate


def test_a_client_that_leaves_a_stream(client: openai.OpenAI, provider: Provider) -> None:
    with provider.gate(after_tokens=2):
        with say(client, "x", stream=True) as stream:
            texts = (chunk.choices[0].delta.content for chunk in stream)
            assert [text for _, text in zip(range(3), texts, strict=False) if text]
            (held,) = provider.wait_for(1, state="held")
            assert (held.tokens_sent, held.finished, held.status) == (2, None, 200)
        (call,) = provider.wait_for(1, state="cancelled")
    assert (call.tokens_sent, call.completion_tokens, call.status) == (2, 2, 200)
    assert call.price_usd > 0


def test_hanging_in_mid_stream(client: openai.OpenAI, provider: Provider) -> None:
    with provider.fault(Fault.hang(after_tokens=2)), say(client, "x", stream=True) as stream:
        pieces = (chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)
        assert next(pieces)
        assert next(pieces)
    (call,) = provider.wait_for(1, state="cancelled")
    assert (call.tokens_sent, call.fault) == (2, "hang")


def test_gate_holds_before_anything_is_sent(
    client: openai.OpenAI, provider: Provider, pool: ThreadPoolExecutor
) -> None:
    with provider.gate("held") as gate:
        answer = pool.submit(say, client, "held here")
        assert gate.wait_held(1) == 1
        assert say(client, "passes").choices
        assert not answer.done()
        gate.open()
        assert answer.result(10).choices
        assert say(client, "held no more").choices
    assert [call.state for call in provider.calls()] == ["finished"] * 3


def test_gate_lets_some_through(client: openai.OpenAI, provider: Provider, pool: ThreadPoolExecutor) -> None:
    with provider.gate() as gate:
        answers = [pool.submit(say, client, f"n{number}") for number in range(5)]
        assert gate.wait_held(5) == 5
        gate.release(2)
        assert len(provider.wait_for(2, state="finished")) == 2
        assert gate.wait_held(4, timeout=0.05) == 3
        gate.release(4)
        assert len(provider.wait_for(5, state="finished")) == 5
        assert say(client, "the fourth pass").choices
        last = pool.submit(say, client, "no pass left")
        assert gate.wait_held(1) == 1
    assert last.result(10).choices
    assert all(answer.result(10).choices for answer in answers)


def test_in_flight_and_peak(client: openai.OpenAI, provider: Provider, pool: ThreadPoolExecutor) -> None:
    with provider.gate() as gate:
        answers = [pool.submit(say, client, "together") for _ in range(6)]
        assert gate.wait_held(6) == 6
        assert sorted(call.in_flight for call in provider.calls()) == [1, 2, 3, 4, 5, 6]
    assert all(answer.result(10).choices for answer in answers)
    assert peak(provider.calls()) == 6
    for _ in range(4):
        say(client, "alone")
    assert peak(provider.calls("alone")) == 1
    assert peak([]) == 0


def test_waiting_ends_with_what_is_there(client: openai.OpenAI, provider: Provider, pool: ThreadPoolExecutor) -> None:
    assert provider.wait_for(1, timeout=0.05) == []
    waiting = pool.submit(provider.wait_for, 2, "x", state="finished")
    say(client, "x1")
    say(client, "y")
    assert not waiting.done()
    say(client, "x2")
    assert [call.text for call in waiting.result(10)] == ["x1", "x2"]
    with provider.watch("z") as seen:
        waiting = pool.submit(seen.wait, 1)
        say(client, "z")
        assert len(waiting.result(10)) == 1


def test_latency_is_at_least_what_was_asked(client: openai.OpenAI, provider: Provider) -> None:
    with provider.latency(0.1), provider.answer("one two three four five six", "x"):
        say(client, "x")
        with provider.latency(0, per_token=0.02):
            list(say(client, "x", stream=True))
    first, second = provider.calls()
    assert first.seconds is not None
    assert second.seconds is not None
    assert first.seconds >= 0.1
    assert second.seconds >= 5 * 0.02


def test_refused_port(http: httpx.Client, provider: Provider, pool: ThreadPoolExecutor) -> None:
    assert http.get("/models").status_code == 200
    with provider.fault(Fault.hang()):
        hanging = pool.submit(http.post, "/chat/completions", json=body_of("x"))
        assert provider.wait_for(1)
        with provider.refused():
            assert isinstance(hanging.exception(10), httpx.RemoteProtocolError)
            for _ in range(3):
                with pytest.raises(httpx.ConnectError):
                    http.get("/models")
    assert http.get("/models").status_code == 200
    assert provider.calls()[0].fault in {"hang", "refused"}
    assert not provider.calls()[0].cancelled


def test_reset_takes_everything_back(client: openai.OpenAI, provider: Provider, pool: ThreadPoolExecutor) -> None:
    provider.fault(Fault.status(500), "x")
    gate = provider.gate()
    provider.embeddings({"a": [1.0, 2.0]})
    held = pool.submit(say, client, "y")
    assert gate.wait_held(1) == 1
    provider.reset()
    assert held.result(10).choices
    assert say(client, "x").choices
    assert len(client.embeddings.create(model="lab-embed", input="a").data[0].embedding) > 2
    gate.open()  # once more is harmless
    with provider.refused(), pytest.raises(openai.APIConnectionError):
        say(client, "x")


def test_control_client_in_threads(client: openai.OpenAI, provider: Provider) -> None:
    say(client, "x")
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(provider.calls()))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 20
