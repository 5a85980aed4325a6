"""HTTP/1.1 as bytes on a socket: bounded, undecoded, and patient only until a deadline.

Ordinary clients bound each *read*; a service that drips one byte a second never meets such a bound. Here every
conversation has one deadline and one size limit, answers are never decompressed, and the last byte of a request can be
held back so that many requests complete at the same instant.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import h11

TIMEOUT = 15.0
"""Seconds until an answer must be complete, unless the caller says otherwise."""

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of one answer that are read before the conversation is ended."""

Address = tuple[str, int]


@dataclass(frozen=True)
class Request:
    """One request as it goes onto the wire."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    chunked: bool = False

    def encode(self) -> bytes:
        """Return the bytes of the request; header bytes are sent as given, also when they are not ASCII."""
        lines = [f"{self.method} {self.target} HTTP/1.1".encode()]
        lines += [name + b": " + value for name, value in self.headers]
        if self.chunked:
            lines.append(b"transfer-encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in _slices(self.body)) + b"0\r\n\r\n"
        else:
            body = self.body
            if body or self.method in {"POST", "PUT", "PATCH"}:
                lines.append(b"content-length: %d" % len(body))
        return b"\r\n".join([*lines, b"", b""]) + body


def _slices(body: bytes, size: int = 8192) -> Iterable[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


@dataclass
class Talk:
    """One request under way on a connection of its own, and what has come back so far."""

    address: Address
    request: Request
    deadline: float
    source: str = ""
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    error: str = ""
    complete: bool = False
    started: float = 0.0
    head_at: float = 0.0
    finished: float = 0.0
    _socket: socket.socket | None = None
    _unsent: bytes = b""
    _held: bytes = b""
    _size: int = 0
    _parser: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=65536))

    @property
    def body(self) -> bytes:
        """The bytes of the answer's body, as they came."""
        return b"".join(data for _, data in self.chunks)

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self.complete or bool(self.error)

    def open(self, *, hold_back: int = 0) -> None:
        """Connect and send the request but for its last ``hold_back`` bytes."""
        data = self.request.encode()
        method = self.request.method.encode()
        # The parser must know the method (a HEAD has no body); the bytes it would send are ours, not its own.
        self._parser.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
        self._parser.send(h11.EndOfMessage())
        self.started = time.monotonic()
        try:
            patience = max(0.01, self.deadline - self.started)
            source = (self.source, 0) if self.source else None
            self._socket = socket.create_connection(self.address, timeout=patience, source_address=source)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setblocking(False)
        except OSError as error:
            self._fail(_reason(error))
            return
        cut = len(data) - hold_back
        self._unsent = data[:cut]
        self._push()
        self._held = data[cut:]

    def release(self) -> None:
        """Send the bytes that were held back."""
        self._unsent += self._held
        self._held = b""
        self.started = time.monotonic()
        self._push()

    def close(self) -> None:
        """Go away, as a client does that closes its window."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def wait(self, until: float | None = None) -> bool:
        """Read until the answer is complete (True) or the time ``until`` or the deadline has come."""
        return converse([self], until=until)

    def advance(self, until: float) -> bool:
        """Wait for at least one more piece of the answer; False when none came before ``until``."""
        seen, head = len(self.chunks), self.status
        while not self.over and len(self.chunks) == seen and self.status == head:
            if not _step([self], until):
                return False
        return len(self.chunks) > seen or self.status != head

    def _push(self) -> None:
        while self._unsent and self._socket is not None:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self._unsent = b""  # The service may have answered early and closed; what it said is read next.
                return
            self._unsent = self._unsent[sent:]

    def _pull(self) -> None:
        try:
            data = self._socket.recv(262144) if self._socket is not None else b""
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(_reason(error))
            return
        now = time.monotonic()
        try:
            self._parser.receive_data(data)
            self._read_events(now)
        except h11.RemoteProtocolError as error:
            closed = self._closed()
            self._fail(closed if not data else f"sent something that is not HTTP ({error})")
        else:
            if not data and not self.over:
                self._fail(self._closed())

    def _closed(self) -> str:
        when = "before it answered" if self.status is None else "in the middle of its answer"
        return f"closed the connection {when}"

    def _read_events(self, now: float) -> None:
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Response):
                self.status, self.head_at = event.status_code, now
                self.headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
            elif isinstance(event, h11.Data):
                self._keep(now, bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._end(complete=True)
                return
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return
            if self.over:
                return

    def _keep(self, now: float, data: bytes) -> None:
        self._size += len(data)
        if self._size > BODY_LIMIT:
            self._fail(f"sent more than {BODY_LIMIT >> 20} MB")
        else:
            self.chunks.append((now, data))

    def _fail(self, reason: str) -> None:
        self.error = reason
        self._end(complete=False)

    def _end(self, *, complete: bool) -> None:
        self.complete = complete
        self.finished = time.monotonic()
        self.close()


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "did not accept the connection in time"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "reset the connection"
    return f"could not be reached ({error.strerror or error})"


def converse(talks: Sequence[Talk], *, until: float | None = None) -> bool:
    """Carry on with all conversations until each is over; True when all are, False at the time ``until``.

    What has arrived by now is read in any case. Conversations past their own deadline end with an error that says how
    long was waited.
    """
    while any(not talk.over for talk in talks):
        _step(talks, until)
        if until is not None and time.monotonic() >= until:
            return all(talk.over for talk in talks)
    return True


def _step(talks: Sequence[Talk], until: float | None) -> bool:
    """Wait for the next readiness among the conversations and serve it."""
    now = time.monotonic()
    live = [talk for talk in talks if not talk.over and talk._socket is not None]
    for talk in live:
        if now >= talk.deadline:
            talk._fail(f"did not answer within {talk.deadline - talk.started:.0f} s")
    live = [talk for talk in live if not talk.over]
    if not live:
        return False
    limit = min(talk.deadline for talk in live)
    limit = limit if until is None else min(limit, until)
    with selectors.DefaultSelector() as selector:
        for talk in live:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if talk._unsent else 0)
            with contextlib.suppress(ValueError, KeyError):
                selector.register(talk._socket, wanted, talk)  # type: ignore[arg-type]
        ready = selector.select(max(0.0, limit - now))
    for key, mask in ready:
        if mask & selectors.EVENT_WRITE:
            key.data._push()
        if mask & selectors.EVENT_READ:
            key.data._pull()
    return bool(ready)
