"""Conversations: what has come is heard, and nobody waits beyond the time that was asked for."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from grader.client import Caller
from grader.exchange import Pending

Talk = tuple[Pending, socket.socket]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """A request under way, and the server's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pending = Caller(server.getsockname()[:2]).begin("GET", "/")
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            yield pending, connection
        pending.close()


def test_an_answer_that_has_come_is_heard_without_waiting(talk: Talk) -> None:
    pending, server = talk
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    select.select([pending.talk._socket or server], [], [])
    assert pending.answered()
    assert pending.exchange().text == "ok"


def test_an_answer_that_is_not_there_is_not_waited_for(talk: Talk) -> None:
    pending, server = talk
    assert not pending.answered()
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    assert not pending.answered(within=0.05)
    server.sendall(b"k")
    assert pending.answered(within=30)
