"""How many completions a second one core's provider gives: ``python benchmarks/provider.py [COUNT]``.

Counted against the provider's own processor time, so that a slow client or a busy machine does not change the figure.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from grader.provider import Provider, ProviderProcess
from grader.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 16
QUESTION = "How many replicas does a service need when each of them answers forty requests a second?"


def main() -> None:
    """Measure whole completions, streams and embeddings, and print one line for each."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    with Supervisor() as supervisor, tempfile.TemporaryDirectory() as directory:
        process = ProviderProcess.start(supervisor, Path(directory))
        provider = process.new_namespace()
        provider.embeddings({QUESTION: [0.1] * 384})
        (server,) = [one for one in psutil.process_iter() if _is_ours(one)]
        for name, path, body, whole in _cases():
            _run(provider, path, body, whole, 200)
            _report(name, count, server, lambda p=path, b=body, w=whole: _run(provider, p, b, w, count))  # type: ignore[misc]


def _is_ours(process: psutil.Process) -> bool:
    try:
        return "grader.provider" in process.cmdline() and psutil.Process().pid in [p.pid for p in process.parents()]
    except psutil.Error:
        return False


def _cases() -> list[tuple[str, str, dict[str, object], bytes]]:
    chat: dict[str, object] = {"model": "lab-large", "messages": [{"role": "user", "content": QUESTION}]}
    return [
        ("completions", "/v1/chat/completions", chat, b"}"),
        ("streams", "/v1/chat/completions", {**chat, "stream": True}, b"0\r\n\r\n"),
        ("embeddings", "/v1/embeddings", {"model": "lab-embed", "input": QUESTION}, b"}"),
    ]


def _report(name: str, count: int, server: psutil.Process, work: Callable[[], None]) -> None:
    before, began = server.cpu_times(), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - began, server.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"{name:12} {count / used:7.0f} per core and second   ({count / seconds:.0f} per second in this run)")


def _run(provider: Provider, path: str, body: dict[str, object], end: bytes, count: int) -> None:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {provider.api_key}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content
    port = int(provider.base_url.split(":")[2].split("/")[0])
    waiting, sent, got = selectors.DefaultSelector(), 0, 0
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        waiting.register(connection, selectors.EVENT_READ, bytearray())
        connection.sendall(request)
        sent += 1
    while got < count:
        for key, _ in waiting.select():
            peer, answer = key.fileobj, key.data
            assert isinstance(peer, socket.socket)
            answer += peer.recv(65536)
            if _is_whole(answer, end):
                answer.clear()
                got += 1
                if sent < count:
                    peer.sendall(request)
                    sent += 1
    for key in list(waiting.get_map().values()):
        peer = key.fileobj
        assert isinstance(peer, socket.socket)
        peer.close()
    waiting.close()


def _is_whole(answer: bytearray, end: bytes) -> bool:
    if b"chunked" in answer[:400]:
        return answer.endswith(end)
    head, mark, body = bytes(answer).partition(b"\r\n\r\n")
    return bool(mark) and len(body) == int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])


if __name__ == "__main__":
    main()
