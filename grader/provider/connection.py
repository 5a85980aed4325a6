"""HTTP/1.1 for a server that must also misbehave: whole control over every connection and over its port.

The provider has to hang up in mid-answer, to notice at once that a client went away, and to refuse connections for a
while. Frameworks hide the connection; here a parser (httptools) and asyncio's transports are used directly.
"""

from __future__ import annotations

import asyncio
import http
import secrets
import socket
import sys
import traceback
import urllib.parse
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

MAX_BODY_BYTES = 16 * 1024 * 1024
BACKLOG = 2048
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool
    connection: Connection

    def parameter(self, name: str) -> str:
        """Give the first value of a query parameter, or an empty string."""
        return urllib.parse.parse_qs(self.query).get(name, [""])[0]


if TYPE_CHECKING:
    Job = Callable[[], Awaitable[None]]
    Handler = Callable[[Request], Job]
    """Takes a request in at once, and gives the job that answers it."""


class Connection(asyncio.Protocol):
    """One client's connection: parses requests, runs the handler for one at a time, writes its answer.

    When the connection is lost ``when_lost`` is called and the handler's job is cancelled, possibly before it began;
    ``dropped`` tells whether it was us who hung up.
    """

    def __init__(self, handler: Handler, peers: set[Connection]) -> None:
        self.dropped = False
        self.when_lost: Callable[[], None] | None = None
        self._handler = handler
        self._peers = peers
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._keep_alive = True
        self._begun = self._ended = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peers.add(self)
        peer = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an HTTP/2 upgrade is only an offer
        except httptools.HttpParserError:
            if self._task is None:
                self._keep_alive = False
                self.respond(400)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002, D102
        self._peers.discard(self)
        self._waiting.clear()
        if self.when_lost is not None:
            self.when_lost()
        if self._task is not None:
            self._task.cancel()

    # What the parser calls

    def on_message_begin(self) -> None:  # noqa: D102
        self._url, self._body = bytearray(), bytearray()
        self._headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:  # noqa: D102
        if self._headers.get("expect", "").lower() == "100-continue" and self._task is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self._body += body
        if len(self._body) > MAX_BODY_BYTES:
            self.abort()

    def on_message_complete(self) -> None:  # noqa: D102
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("ascii")
        keep_alive = self._parser.should_keep_alive()
        self._waiting.append(Request(method, path, query, self._headers, bytes(self._body), keep_alive, self))
        if self._task is None:
            self._next()

    # What a handler calls

    def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        """Write a whole answer; a ``length`` above the body's promises more than is sent."""
        size = len(body) if length is None else length
        self._begun = self._ended = True
        self._transport.write(self._head(status, content_type, headers, f"content-length: {size}") + body)

    def begin(self, status: int, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Write the head of an answer that comes in pieces."""
        self._begun = True
        self._transport.write(self._head(status, content_type, headers, "transfer-encoding: chunked"))

    def send(self, data: bytes) -> None:
        """Write one piece of an answer that was begun."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Finish an answer that was begun."""
        self._ended = True
        self._transport.write(b"0\r\n\r\n")

    def abort(self) -> None:
        """Close the connection as it stands: after what was written, without finishing the answer."""
        self.dropped = True
        self._transport.close()

    def _head(self, status: int, content_type: str, headers: Mapping[str, str] | None, framing: str) -> bytes:
        lines = [
            f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}",
            f"content-type: {content_type}",
            f"x-request-id: req_{secrets.token_hex(8)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
            framing,
        ]
        if not self._keep_alive:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _next(self) -> None:
        request = self._waiting.popleft()
        self._keep_alive = request.keep_alive
        self._begun = self._ended = False
        self._task = asyncio.get_running_loop().create_task(self._run(self._handler(request)))

    async def _run(self, job: Job) -> None:
        try:
            await job()
        except Exception:  # noqa: BLE001  # one faulty answer must not end the provider
            traceback.print_exc(file=sys.stderr)
            if not self._begun:
                self.respond(500)
        self._task = None
        if not (self._ended and self._keep_alive):
            self._transport.close()
        elif self._waiting:
            self._next()


class Port:
    """A port that can be closed and opened again without ever being free for anybody else.

    A second socket is bound to the port but never listens: the system gives the port to nobody, and while the listening
    socket is closed connections are refused.
    """

    def __init__(self, handler: Handler, number: int = 0, host: str = "127.0.0.1") -> None:
        self.host = host
        self._handler = handler
        self._peers: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._keeper = _bound(number, host)
        self.number: int = self._keeper.getsockname()[1]

    @property
    def refusing(self) -> bool:
        """Whether connections are refused."""
        return self._server is None

    async def open(self) -> None:
        """Accept connections; no-op when open."""
        if self._server is None:
            self._server = await serve(self._handler, _bound(self.number, self.host), self._peers)

    def refuse(self) -> None:
        """Refuse connections and drop the open ones; no-op when closed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for peer in tuple(self._peers):
            peer.abort()

    def close(self) -> None:
        """Refuse connections and give the port back."""
        self.refuse()
        self._keeper.close()


async def serve(handler: Handler, listener: socket.socket, peers: set[Connection] | None = None) -> asyncio.Server:
    """Answer on a bound socket; ``peers`` will hold the open connections."""
    connections = set() if peers is None else peers
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(handler, connections), sock=listener, backlog=BACKLOG)


def _bound(number: int, host: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, number))
    except OSError:
        bound.close()
        raise
    return bound
