"""Answers: what came back from a service, and how a cell shows it."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from grader.formats.curl import curl_lines
from grader.formats.element import Child, element
from grader.notebook import cards

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_SHOWN = ("retry-after", "www-authenticate", "location", "allow")
_SHOWN_FAMILIES = ("x-ratelimit", "ratelimit", "x-cache", "x-request-id")
_DULL = {"content-type", "content-length", "accept", "accept-encoding", "connection", "user-agent", "host"}


@dataclass(repr=False)
class Answer(cards.Card):
    """One answer: `status` (None when none came: `error` says why), `headers`, `text`, `json`, `seconds`."""

    method: str
    path: str
    url: str = ""
    sent: Mapping[str, str] = field(default_factory=dict)
    sent_body: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    seconds: float = 0.0
    error: str = ""
    label = "answer"

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        """The body as JSON, or None where it is none: a cell can go on."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def curl(self) -> str:
        """The same request for a terminal."""
        words = ["curl", "-i", *(["-X", self.method] if self.method != "GET" else []), self.url]
        for name, value in self.sent.items():
            if name.lower() not in _DULL or (name.lower() == "content-type" and self.sent_body):
                words += ["-H", f"{name}: {value}"]
        return shlex.join([*words, *(["-d", self.sent_body] if self.sent_body else [])])

    @property
    def said(self) -> str:
        """Return `429 Too Many Requests`, or why there is no status."""
        if self.status is None:
            return self.error
        return f"{self.status} {_PHRASES.get(self.status, '')}".rstrip()

    def words(self) -> str:
        """Return request, status, the headers that tell something, and the body."""
        telling = [f"  {n}: {v}" for n, v in self.headers.items() if n in _SHOWN]
        return "\n".join([f"{self.method} {self.path} → {self.said}", *telling, *self._body_lines()])

    def _body_lines(self) -> list[str]:
        text = cards.pretty(self.json) if self.json is not None else self.text
        return [f"  {line}" for line in cards.shortened(text, 1200).splitlines()]

    def body(self) -> Iterable[Child]:
        """Give status and body; request and headers are folded away."""
        state = "good" if self.ok else "bad" if self.status is None or self.status >= 500 else "wait"
        yield element(
            "p",
            element("strong", f"{self.method} {self.path}"),
            element("span", f"{'✓' if self.ok else '✗'} {self.said}", class_=f"cw-badge {state}"),
            element("span", f"{self.seconds * 1000:.0f} ms", class_="cw-soft"),
            class_="cw-head",
        )
        telling = {n: v for n, v in self.headers.items() if n in _SHOWN or n.startswith(_SHOWN_FAMILIES)}
        if telling:
            yield cards.pre(cards.headers_text(telling))
        if self.text:
            yield cards.pre(cards.pretty(self.json) if self.json is not None else self.text)
        yield cards.folded("The request, for a terminal", cards.pre("\n".join(curl_lines(self.curl, 96))))
        if self.headers:
            yield cards.folded(f"All {len(self.headers)} headers", cards.pre(cards.headers_text(self.headers)))


class Answers(cards.Card, list[Answer]):
    """Several answers in the order of their requests."""

    label = "answers"

    def __init__(self, answers: Iterable[Answer] = (), seconds: float = 0.0) -> None:
        list.__init__(self, answers)
        self.seconds = seconds

    __repr__ = cards.Card.__repr__

    @property
    def statuses(self) -> list[int | None]:
        """The statuses, in order."""
        return [answer.status for answer in self]

    @property
    def counts(self) -> dict[int | None, int]:
        """How often each status came: `{200: 10, 429: 20}`."""
        return dict(sorted(Counter(self.statuses).items(), key=lambda each: each[0] or 0))

    def words(self) -> str:
        """Return how many answers of each kind came."""
        kinds = ", ".join(f"{n} × {_named(status, self)}" for status, n in self.counts.items())
        return f"{len(self)} answers: {kinds or 'none'}"

    def body(self) -> Iterable[Child]:
        """Give a table of statuses with the times of each."""
        yield element(
            "p",
            element("strong", f"{len(self)} answers"),
            element("span", f"in {self.seconds:.2f} s", class_="cw-soft"),
            class_="cw-head",
        )
        rows = []
        for status, count in self.counts.items():
            times = sorted(answer.seconds * 1000 for answer in self if answer.status == status)
            row = (_named(status, self), count, round(times[len(times) // 2]), round(times[-1]))
            rows.append(row)
        yield cards.grid(("status", "how many", "half within, ms", "slowest, ms"), rows)


def _named(status: int | None, answers: Sequence[Answer]) -> str:
    return next(answer.said for answer in answers if answer.status == status)
