"""The provider's HTTP: what clients other than Python's may send, and what must not end it."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.running_provider import body_of, http_client, running_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grader.provider import Provider, ProviderProcess


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
def raw(provider: Provider) -> Iterator[socket.socket]:
    port = int(provider.base_url.removesuffix("/v1").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        yield opened


def models_request(provider: Provider, *, version: str = "1.1") -> bytes:
    return f"GET /v1/models HTTP/{version}\r\nhost: x\r\nauthorization: bearer {provider.api_key}\r\n\r\n".encode()


def chat_request(provider: Provider, *, extra: str) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {provider.api_key}\r\n"
    return f"{head}{extra}\r\n".encode()


def read_answer(stream: socket.socket) -> tuple[int, dict[str, str], bytes]:
    with stream.makefile("rb") as lines:
        status = int(lines.readline().split()[1])
        headers = {}
        while (line := lines.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers, lines.read(int(headers.get("content-length", 0)))


def test_a_connection_serves_many_requests(raw: socket.socket, provider: Provider) -> None:
    for _ in range(3):
        raw.sendall(models_request(provider))
        assert read_answer(raw)[0] == 200


def test_pipelined_requests_are_answered_in_order(raw: socket.socket, provider: Provider) -> None:
    with provider.latency(0.05, kind="models"):
        raw.sendall(models_request(provider) * 2 + models_request(provider, version="1.0"))
        data = b"".join(iter(lambda: raw.recv(65536), b""))
    assert data.count(b"HTTP/1.1 200 OK") == 3
    assert [call.in_flight for call in provider.calls(kind="models")] == [1, 1, 1]


def test_http_1_0_is_closed_after_the_answer(raw: socket.socket, provider: Provider) -> None:
    raw.sendall(models_request(provider, version="1.0"))
    assert read_answer(raw)[1]["connection"] == "close"


def test_chunked_body(raw: socket.socket, provider: Provider) -> None:
    body = json.dumps(body_of("in chunks")).encode()
    raw.sendall(chat_request(provider, extra="transfer-encoding: chunked\r\n"))
    for part in (body[:7], body[7:], b""):
        raw.sendall(b"%x\r\n%b\r\n" % (len(part), part))
    assert read_answer(raw)[0] == 200
    assert provider.calls()[0].text == "in chunks"


def test_curls_expectation_is_met(raw: socket.socket, provider: Provider) -> None:
    body = json.dumps(body_of("expected")).encode()
    raw.sendall(chat_request(provider, extra=f"content-length: {len(body)}\r\nexpect: 100-continue\r\n"))
    assert raw.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.sendall(body)
    assert read_answer(raw)[0] == 200


def test_nonsense_is_400_and_closed(raw: socket.socket) -> None:
    raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert read_answer(raw)[0] == 400
    assert raw.recv(1) == b""


def test_endless_bodies_are_cut_off(raw: socket.socket, provider: Provider) -> None:
    raw.sendall(chat_request(provider, extra="content-length: 999999999\r\n"))
    with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):  # noqa: PT012
        for _ in range(1000):
            raw.sendall(b"x" * 65536)
    assert provider.calls() == []


def test_odd_bodies_never_break_it(provider: Provider) -> None:
    with http_client(provider) as http:
        for body in (
            b"[" * 100_000,
            b"\xff\xfe",
            b'{"model": {}, "messages": 3}',
            b'{"model": "lab-x", "input": [[-1]]}',
        ):
            for path in ("/chat/completions", "/embeddings"):
                assert http.post(path, content=body).status_code in {400, 404}
        odd = {"model": "lab-x", "input": "text", "dimensions": "many"}
        assert http.post("/embeddings", json=odd).status_code == 400
        assert http.post("/chat/completions", content=rb'{"model": "lab-x", "messages": [{"content": "\ud800"}]}')
        assert http.get("/models", headers=[(b"Authorization", b"Bearer caf\xe9")]).status_code == 401


def test_a_port_stays_reserved_while_it_refuses(provider: Provider) -> None:
    port = int(provider.base_url.removesuffix("/v1").rpartition(":")[2])
    with provider.refused(), socket.socket() as thief, contextlib.suppress(OSError):
        thief.bind(("127.0.0.1", port))
        pytest.fail("somebody else could take the port")
    with http_client(provider) as http:
        assert http.get("/models").status_code == 200


def test_a_client_that_leaves_at_once_is_in_the_ledger(raw: socket.socket, provider: Provider) -> None:
    body = json.dumps(body_of("gone")).encode()
    with provider.gate(), provider.gate(kind="models"):
        raw.sendall(chat_request(provider, extra=f"content-length: {len(body)}\r\n") + body)
        raw.shutdown(socket.SHUT_RDWR)
        (call,) = provider.wait_for(1, state="cancelled")
    assert (call.text, call.status) == ("gone", None)


def test_hundreds_of_connections_at_once(provider: Provider) -> None:
    port = int(provider.base_url.removesuffix("/v1").rpartition(":")[2])
    with contextlib.ExitStack() as closing:
        peers = [closing.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(400)]
        with provider.gate(kind="models") as gate:
            for peer in peers:
                peer.sendall(models_request(provider))
            assert gate.wait_held(400) == 400
        assert [read_answer(peer)[0] for peer in peers] == [200] * 400
