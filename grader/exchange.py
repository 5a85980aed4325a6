"""One request and its answer: sent at once or held back, read whole or event by event, and kept for the report."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grader import wire
from grader.expectation import Broken

DEV_URL = "http://127.0.0.1:8000"
"""Where ``course serve`` offers the learner's service; the curl lines of a report point there."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, kept so that a report can show both."""

    method: str
    path: str
    sent_headers: tuple[tuple[str, str], ...]
    sent_body: bytes
    status: int | None
    headers: Mapping[str, str]
    body: bytes
    error: str
    started: float
    head_at: float
    finished: float
    service: str = ""
    disguise: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        """The body as text; undecodable bytes are replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:  # noqa: ANN401  # JSON can be anything
        """The body as JSON; a body that is not JSON breaks the promise under test."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Broken(f"{self} with a body that is not JSON ({error}).", [self]) from None

    @property
    def seconds(self) -> float:
        """Seconds from the last byte sent to the last byte read."""
        return max(0.0, self.finished - self.started)

    @property
    def request_id(self) -> str:
        """The request id that the service answered with, or the one that was sent."""
        sent = {name.lower(): value for name, value in self.sent_headers}
        return self.headers.get("x-request-id", sent.get("x-request-id", ""))

    @property
    def curl(self) -> str:
        """A line that can be pasted while ``course serve`` runs."""
        parts = ["curl", "-i"]
        if self.method != "GET":
            parts += ["-X", self.method]
        parts.append(DEV_URL + self.path)
        for name, value in self.sent_headers:
            if name.lower() not in {"host", "user-agent", "accept", "accept-encoding"}:
                parts += ["-H", f"{name}: {self.disguise.get(value, _short_token(value))}"]
        if self.sent_body:
            parts += ["-d", _shorten(self.sent_body.decode("utf-8", "replace"))]
        return shlex.join(parts)

    def __str__(self) -> str:
        path = self.path if len(self.path) < 60 else self.path[:57] + "…"
        if self.status is None:
            return f"{self.method} {path}: the service {self.error or 'did not answer'}"
        return f"{self.method} {path} answered {self.status}"


def _short_token(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return f"{scheme} $TOKEN" if scheme.lower() == "bearer" and rest.count(".") == 2 else value


def _shorten(text: str, limit: int = 400) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


@dataclass(frozen=True)
class Prepared:
    """A request of a caller that has not been sent yet."""

    request: wire.Request
    address: wire.Address
    service: str
    disguise: Mapping[str, str]
    source: str = ""

    def begin(self, *, timeout: float = wire.TIMEOUT, hold_back: int = 0) -> Pending:
        """Send the request and return at once."""
        talk = wire.Talk(self.address, self.request, time.monotonic() + timeout, self.source)
        talk.open(hold_back=hold_back)
        return Pending(self, talk)


class Pending:
    """A request under way. The answer waits in the socket until it is asked for."""

    def __init__(self, prepared: Prepared, talk: wire.Talk) -> None:
        self.prepared = prepared
        self.talk = talk

    def answered(self, within: float = 0.0) -> bool:
        """Whether the answer is complete, or becomes so within that many seconds."""
        return self.talk.wait(until=time.monotonic() + within)

    def result(self) -> Exchange:
        """Wait for the answer, until the deadline of the request."""
        self.talk.wait()
        return self.exchange()

    def exchange(self) -> Exchange:
        """What has been said up to now."""
        request, talk = self.prepared.request, self.talk
        headers: dict[str, str] = {}
        for name, value in talk.headers:
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        return Exchange(
            method=request.method,
            path=request.target,
            sent_headers=tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers),
            sent_body=request.body,
            status=talk.status,
            headers=headers,
            body=talk.body,
            error=talk.error,
            started=talk.started,
            head_at=talk.head_at,
            finished=talk.finished or time.monotonic(),
            service=self.prepared.service,
            disguise=self.prepared.disguise,
        )

    def close(self) -> None:
        """Go away without waiting for the answer."""
        self.talk.close()


@contextlib.contextmanager
def closing(pendings: Sequence[Pending]) -> Iterator[Sequence[Pending]]:
    """Close requests under way at the end, whatever happens."""
    try:
        yield pendings
    finally:
        for pending in pendings:
            pending.close()


def burst(prepared: Sequence[Prepared], *, timeout: float = wire.TIMEOUT) -> list[Exchange]:
    """Send requests that complete at the same instant: all but the last byte of each, then all last bytes.

    An ordinary pool of threads spreads requests over milliseconds and misses races; this does not.
    """
    pendings = [one.begin(timeout=timeout, hold_back=1) for one in prepared]
    for pending in pendings:
        if not pending.talk.over:
            pending.talk.release()
    wire.converse([pending.talk for pending in pendings])
    return [pending.exchange() for pending in pendings]


@dataclass(frozen=True)
class Event:
    """One server-sent event and the time (monotonic seconds) of its last byte."""

    name: str
    data: str
    at: float

    @property
    def json(self) -> dict[str, Any]:
        """The data as a JSON object; anything else breaks the promise under test."""
        try:
            found = json.loads(self.data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Broken(f"The data of an event {self.name!r} is no JSON object: {self.data[:100]!r}.")
        return found


class Stream:
    """An answer of ``text/event-stream`` that is read event by event (WHATWG HTML, section 9.2)."""

    def __init__(self, pending: Pending) -> None:
        self.pending = pending

    @property
    def events(self) -> list[Event]:
        """All events that have arrived."""
        found: list[Event] = []
        name, buffered = "", ""
        data: list[str] = []
        for at, chunk in self.pending.talk.chunks:
            buffered += chunk.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
            *lines, buffered = buffered.split("\n")
            for line in lines:
                if not line and (data or name):
                    found.append(Event(name or "message", "\n".join(data), at))
                    name, data = "", []
                elif line.startswith("event:"):
                    name = line[6:].removeprefix(" ")
                elif line.startswith("data:"):
                    data.append(line[5:].removeprefix(" "))
        return found

    @property
    def last(self) -> str:
        """The name of the latest event; empty when there is none."""
        return self.events[-1].name if self.events else ""

    def wait_for(self, count: int, within: float = wire.TIMEOUT) -> list[Event]:
        """Wait until ``count`` events are there, the stream ends, or the seconds are over."""
        until = time.monotonic() + within
        while len(self.events) < count and not self.pending.talk.over and time.monotonic() < until:
            self.pending.talk.advance(until)
        return self.events

    def finish(self) -> list[Event]:
        """Read to the end of the stream."""
        self.pending.talk.wait()
        return self.events

    @property
    def exchange(self) -> Exchange:
        """The request and what has come back so far."""
        return self.pending.exchange()

    def close(self) -> None:
        """Go away in the middle of the stream."""
        self.pending.close()
