"""The provider as real clients see it: OpenAI's and LangChain's packages must work against it unchanged."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from grader.provider import Bill, Fault, Provider, ProviderAddress, ProviderError, ProviderProcess, seed_tiktoken
from tests.running_provider import running_provider, say

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
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


def chat_model(provider: Provider, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="lab-large",
        base_url=provider.base_url,
        api_key=SecretStr(provider.api_key),
        max_retries=0,
        timeout=10,
        **settings,
    )


def test_completion_is_what_the_ledger_says(client: openai.OpenAI, provider: Provider) -> None:
    answer = say(client, "What is a replica?", temperature=0.3)
    (call,) = provider.calls()
    assert answer.choices[0].message.content == call.content
    assert answer.usage.total_tokens == call.total_tokens
    assert (answer.model, answer.choices[0].finish_reason) == ("lab-large", "stop")
    assert (call.text, call.request["temperature"], call.status) == ("What is a replica?", 0.3, 200)
    assert (call.state, call.cancelled, call.fault, call.stream) == ("finished", False, "", False)
    assert call.finished is not None
    assert call.finished >= call.arrived
    assert "authorization" not in call.headers
    assert call.headers["content-type"] == "application/json"


def test_answers_and_token_counts_cannot_be_foreseen(client: openai.OpenAI) -> None:
    answers = [say(client, "Again?") for _ in range(12)]
    assert len({answer.choices[0].message.content for answer in answers}) == 12
    assert len({answer.usage.total_tokens for answer in answers}) > 3
    assert len({answer.usage.prompt_tokens for answer in answers}) == 1


def test_same_words_cost_what_no_service_can_work_out(client: openai.OpenAI, provider: Provider) -> None:
    with provider.answer("Yes, certainly.", "fixed"):
        totals = {say(client, "fixed").usage.total_tokens for _ in range(12)}
    assert len(totals) > 3


def test_prompt_tokens_are_the_real_tokenizers(client: openai.OpenAI) -> None:
    # 3 for each message, 3 for the head of the answer, 1 for the role, and "hello world" is two tokens.
    assert say(client, "hello world").usage.prompt_tokens == 3 + 3 + 1 + 2


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_usage": True}])
def test_stream(client: openai.OpenAI, provider: Provider, options: dict[str, bool] | None) -> None:
    settings = {} if options is None else {"stream_options": options}
    chunks = list(say(client, "Tell me", stream=True, **settings))
    (call,) = provider.calls()
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert "".join(pieces) == call.content
    assert len(pieces) == call.tokens_sent >= 5
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [usage.total_tokens for usage in usages] == (
        [call.total_tokens] if options == {"include_usage": True} else []
    )


def test_short_answers_still_come_in_pieces(client: openai.OpenAI, provider: Provider) -> None:
    with provider.answer("Certainly", "short"):
        chunks = list(say(client, "short", stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert "".join(pieces) == "Certainly"
    assert len(pieces) >= 5


def test_scripted_answer_comes_exactly(client: openai.OpenAI, provider: Provider) -> None:
    text = "  {braces} %s\n\n“quoted” 🦉 trailing \n"
    with provider.answer(text, "exact"):
        assert say(client, "exact").choices[0].message.content == text
        chunks = list(say(client, "exact", stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
        assert say(client, "other").choices[0].message.content != text
    assert say(client, "exact").choices[0].message.content != text


def test_token_limit_cuts_the_answer(client: openai.OpenAI) -> None:
    answer = say(client, "Long", max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens - answer.usage.completion_tokens_details.reasoning_tokens <= 5


def test_models(client: openai.OpenAI, provider: Provider) -> None:
    assert {model.id for model in client.models.list()} >= {"lab-large", "lab-small", "lab-embed"}
    assert provider.calls() == []
    assert len(provider.calls(kind="models")) == 1
    assert provider.bill() == Bill()


def test_bill_follows_the_price_list(client: openai.OpenAI, provider: Provider) -> None:
    usages = [say(client, "One", model=model).usage for model in ("lab-large", "lab-small")]
    bill = provider.bill()
    large, small = usages
    price = large.prompt_tokens * 2.5 + large.completion_tokens * 10
    price += small.prompt_tokens * 0.15 + small.completion_tokens * 0.6
    assert bill.price_usd == pytest.approx(price / 1e6)
    assert bill.calls == 2
    assert bill.total_tokens == large.total_tokens + small.total_tokens
    assert Bill.of(provider.calls()) == bill


def test_wrong_key_is_401(provider: Provider) -> None:
    with (
        openai.OpenAI(base_url=provider.base_url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        say(client, "Hello")
    assert raised.value.code == "invalid_api_key"
    (call,) = provider.calls()
    assert (call.status, call.price_usd) == (401, 0)


def test_another_namespaces_key_is_401(provider_process: ProviderProcess, provider: Provider) -> None:
    other = provider_process.new_namespace()
    with (
        openai.OpenAI(base_url=provider.base_url, api_key=other.api_key, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        say(client, "Hello")
    assert other.calls() == []
    other.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"messages": []}', 400),
        (b'{"model": "lab-large"}', 400),
        (b'{"model": "lab-large", "messages": [1]}', 400),
        (b'{"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}', 404),
    ],
)
def test_bad_requests_get_openais_errors(provider: Provider, body: bytes, status: int) -> None:
    headers = {"Authorization": f"Bearer {provider.api_key}"}
    answer = httpx.post(f"{provider.base_url}/chat/completions", content=body, headers=headers)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    (call,) = provider.calls()
    assert (call.status, call.total_tokens) == (status, 0)


def test_unknown_paths_and_methods(provider: Provider) -> None:
    headers = {"Authorization": f"Bearer {provider.api_key}"}
    assert httpx.get(f"{provider.base_url}/nothing", headers=headers).status_code == 404
    assert httpx.get(f"{provider.base_url}/chat/completions", headers=headers).status_code == 405


def test_content_in_parts(client: openai.OpenAI, provider: Provider) -> None:
    parts = [{"type": "text", "text": "first "}, {"type": "text", "text": "second"}]
    client.chat.completions.create(model="lab-x1", messages=[{"role": "user", "content": parts}])  # type: ignore[list-item,misc]
    assert provider.calls(model="lab-x1")[0].text == "first second"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_in_both_encodings(client: openai.OpenAI, provider: Provider, encoding: Any) -> None:
    provider.embeddings({"a cat": [3.0, 4.0, 0.5], "a tax": [-1.0, 0.0, 2.0]})
    headers = {"Authorization": f"Bearer {provider.api_key}"}
    body = {"model": "lab-embed", "input": ["a cat", "a tax"], "encoding_format": encoding}
    answer = httpx.post(f"{provider.base_url}/embeddings", json=body, headers=headers).json()
    first, second = [item["embedding"] for item in answer["data"]]
    if encoding == "base64":
        first, second = [list(struct.unpack("<3f", base64.b64decode(item))) for item in (first, second)]
    assert (first, second) == ([3.0, 4.0, 0.5], [-1.0, 0.0, 2.0])
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert client.embeddings.create(model="lab-embed", input="a cat").data[0].embedding == [3.0, 4.0, 0.5]
    assert [call.text for call in provider.calls(kind="embeddings")] == ["a cat\na tax", "a cat"]
    assert provider.calls() == []


@pytest.mark.parametrize("checked", [False, True])
def test_langchain_embeddings(provider: Provider, monkeypatch: pytest.MonkeyPatch, checked: bool) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(seed_tiktoken()))
    model = OpenAIEmbeddings(
        model="lab-embed",
        base_url=provider.base_url,
        api_key=SecretStr(provider.api_key),
        check_embedding_ctx_length=checked,
    )
    provider.embeddings({"the very text": [0.6, 0.0, 0.8], "another": [0.0, 1.0, 0.0]})
    assert model.embed_query("the very text") == pytest.approx([0.6, 0.0, 0.8])
    assert model.embed_documents(["another", "the very text"])[0] == pytest.approx([0.0, 1.0, 0.0])
    assert provider.calls(kind="embeddings")[0].text == "the very text"
    near = model.embed_query("unscripted")
    assert len(near) == 384
    assert sum(value * value for value in near) == pytest.approx(1)
    assert model.embed_query("unscripted") == near


def test_warm_model_knows_meaning(client: openai.OpenAI, provider: Provider) -> None:
    assert provider.warm() == "all-MiniLM-L6-v2"
    texts = ["What is Docker?", "Tell me what Docker is", "Write a poem about autumn"]
    near, same, far = (item.embedding for item in client.embeddings.create(model="lab-embed", input=texts).data)
    assert sum(a * b for a, b in zip(near, same, strict=True)) > 0.8
    assert sum(a * b for a, b in zip(near, far, strict=True)) < 0.2
    short = client.embeddings.create(model="lab-embed", input=texts[0], dimensions=64).data[0].embedding
    assert len(short) == 64
    assert sum(a * a for a in short) == pytest.approx(1)


def test_langchain_chat(provider: Provider) -> None:
    message = chat_model(provider).invoke("What is a load balancer?")
    (call,) = provider.calls()
    assert message.content == call.content
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == call.total_tokens


@pytest.mark.parametrize("with_usage", [False, True])
def test_langchain_stream(provider: Provider, with_usage: bool) -> None:
    chunks = list(chat_model(provider, stream_usage=with_usage).stream("Stream it"))
    (call,) = provider.calls()
    assert "".join(str(chunk.content) for chunk in chunks) == call.content
    totals = [chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata]
    assert totals == ([call.total_tokens] if with_usage else [])


def test_langchain_async(provider: Provider) -> None:
    async def run() -> tuple[str, str]:
        model = chat_model(provider)
        whole = await model.ainvoke("All at once")
        pieces = [str(chunk.content) async for chunk in model.astream("In pieces")]
        await model.root_async_client.close()  # LangChain keeps it for the process, beyond this event loop
        return str(whole.content), "".join(pieces)

    whole, streamed = asyncio.run(run())
    assert [call.content for call in provider.calls()] == [whole, streamed]


def test_watch_sees_only_what_is_new(client: openai.OpenAI, provider: Provider) -> None:
    say(client, "before")
    with provider.watch("mine") as mine, provider.watch() as everything:
        assert list(mine) == []
        say(client, "this is mine")
        assert [call.text for call in mine] == ["this is mine"]
        say(client, "not here")
        say(client, "mine too")
        assert (len(mine), len(everything)) == (2, 3)
        assert mine[-1].text == "mine too"
    assert len(provider.calls()) == 4


def test_namespaces_do_not_meet(provider_process: ProviderProcess, client: openai.OpenAI, provider: Provider) -> None:
    other = provider_process.new_namespace()
    with other.fault(Fault.status(500)), other.gate(), other.refused():
        say(client, "Undisturbed")
    assert len(provider.calls()) == 1
    assert other.calls() == []
    other.close()


def test_seeded_answers_repeat(provider_process: ProviderProcess) -> None:
    contents = []
    for _ in range(2):
        opened = provider_process.new_namespace(seed=7)
        with openai.OpenAI(base_url=opened.base_url, api_key=opened.api_key) as client:
            contents.append(say(client, "Same?").choices[0].message.content)
        opened.close()
    assert contents[0] == contents[1]


def test_wrong_token_controls_nothing(provider_process: ProviderProcess) -> None:
    port = provider_process.address.port
    with pytest.raises(ProviderError, match="wrong token"):
        ProviderAddress(port, "guess").ask("open", {})
    assert httpx.get(f"http://127.0.0.1:{port}/open").status_code == 401
