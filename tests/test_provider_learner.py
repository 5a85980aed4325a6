"""The provider as a learner starts it, and the page that shows it."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

import grader.provider
from tests.running_provider import say

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(grader.provider.__file__).with_name("page.html").read_text()


@dataclass
class Learning:
    process: subprocess.Popen[str]
    base_url: str
    api_key: str
    page_url: str

    @property
    def query(self) -> str:
        return self.page_url.partition("?")[2]

    def post(self, verb: str, **body: Any) -> httpx.Response:
        address = httpx.URL(self.page_url).join(f"{verb}?{self.query}")
        return httpx.post(address, json={"namespace": self.api_key, **body}, trust_env=False)

    def events(self) -> Iterator[dict[str, Any]]:
        address = httpx.URL(self.page_url).join(f"events?{self.query}")
        with httpx.stream("GET", address, trust_env=False, timeout=10) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))


@contextlib.contextmanager
def learning(*arguments: str) -> Iterator[Learning]:
    command = [sys.executable, "-m", "grader.provider", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
            words = {name: re.search(f"{name}=(\\S+)", said) for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY")}
            base_url, api_key = (found[1] for found in words.values() if found)
            page = re.search(r"http://\S+token=\S+", said)
            assert page
            yield Learning(process, base_url, api_key, page[0])
        finally:
            process.kill()


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
    return number


@pytest.fixture
def learner(free_port: int) -> Iterator[Learning]:
    with learning("--port", str(free_port), "--seed", "3") as opened:
        yield opened


def client_of(learner: Learning, key: str = "whatever") -> openai.OpenAI:
    return openai.OpenAI(base_url=learner.base_url, api_key=key, max_retries=0, timeout=10)


def test_it_serves_any_key_and_ends_with_the_bill(learner: Learning, free_port: int) -> None:
    assert learner.base_url == f"http://127.0.0.1:{free_port}/v1"
    with client_of(learner) as client:
        first = say(client, "Explain replicas").choices[0].message.content
        assert "Explain, replicas" in first
        assert httpx.get(f"{learner.base_url}/models", trust_env=False).status_code == 401
    learner.process.send_signal(signal.SIGINT)
    out, err = learner.process.communicate(timeout=10)
    assert learner.process.returncode == 0
    assert re.search(r"Bill: 1 calls, \d+ tokens, \$0\.0", out)
    assert err == ""


def test_a_taken_port_is_one_line_and_the_next_port(learner: Learning, free_port: int) -> None:
    with learning("--port", str(free_port)) as second:
        assert second.base_url != learner.base_url
        second.process.send_signal(signal.SIGINT)
        _, err = second.process.communicate(timeout=10)
    number = second.base_url.removesuffix("/v1").rpartition(":")[2]
    assert err == f"Port {free_port} is taken; using {number} instead.\n"


def test_page_needs_the_token_and_nothing_from_elsewhere(learner: Learning) -> None:
    assert httpx.get(learner.page_url.partition("?")[0], trust_env=False).status_code == 401
    answer = httpx.get(learner.page_url, trust_env=False)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.text == PAGE


def test_page_has_relative_addresses_only() -> None:
    addresses = re.findall(r"""(?:src|href|url|fetch|EventSource)\s*[=(]\s*["']?([^"'\s)]+)""", PAGE)
    assert addresses == ["verb", "events"]
    assert "://" not in PAGE


def test_page_states_what_happens(learner: Learning) -> None:
    events = learner.events()
    first = next(events)
    assert (first["first"], first["calls"], first["bill"]["calls"]) == (True, [], 0)
    assert [model["name"] for model in first["models"]] == ["lab-large", "lab-small", "lab-embed"]
    with client_of(learner) as client:
        say(client, "Seen on the page", model="lab-mine")
    seen: dict[int, dict[str, Any]] = {}
    while not any(call["state"] == "finished" for call in seen.values()):
        state = next(events)
        seen |= {call["id"]: call for call in state["calls"]}
    assert seen[1]["text"] == "Seen on the page"
    assert state["bill"]["price_usd"] == seen[1]["price_usd"] > 0
    assert "lab-mine" in [model["name"] for model in state["models"]]
    events.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("refuse", openai.APIConnectionError),
        ("cut", openai.APIConnectionError),
        ("malformed", json.JSONDecodeError),
        ("hang", openai.APITimeoutError),
        ("slow", openai.APITimeoutError),
    ],
)
def test_switches_break_one_model(learner: Learning, fault: str, expected: type[Exception]) -> None:
    assert learner.post("switch", model="lab-large", fault=fault).status_code == 200
    with client_of(learner) as client:
        with pytest.raises(expected):
            say(client.with_options(timeout=0.3 if fault in {"hang", "slow"} else 10), "Hello")
        assert say(client, "Hello", model="lab-small").choices
        assert client.models.list().data
        assert [model["fault"] for model in next(learner.events())["models"]] == [fault, "", ""]
        assert learner.post("switch", model="lab-large", fault="").status_code == 200
        assert say(client, "Hello").choices


def test_whole_provider_refuses_and_is_mended(learner: Learning) -> None:
    with client_of(learner) as client:
        learner.post("switch", model="lab-small", fault="500")
        learner.post("refuse", refuse=True)
        assert next(learner.events())["refusing"] is True
        with pytest.raises(openai.APIConnectionError):
            say(client, "Hello")
        learner.post("reset")
        assert say(client, "Hello", model="lab-small").choices
    state = next(learner.events())
    assert (state["refusing"], {model["fault"] for model in state["models"]}) == (False, {""})


def test_unknown_switch_is_refused(learner: Learning) -> None:
    assert learner.post("switch", model="lab-large", fault="explode").status_code == 400
    assert learner.post("nothing").status_code == 404
