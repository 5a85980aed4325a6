"""The ledger: every call the provider got, what became of it and what it cost."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["chat", "embeddings", "models", "other"]
State = Literal["running", "held", "finished", "cancelled"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a model in US dollars per million tokens."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Give the price of a call in US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1_000_000


PRICES = {"lab-large": Price(2.50, 10.00), "lab-small": Price(0.15, 0.60), "lab-embed": Price(0.02, 0.0)}
OTHER_PRICE = Price(1.00, 4.00)
"""What every other ``lab-…`` model costs."""


@dataclass(frozen=True)
class Call:
    """One call as the provider saw it; times are seconds of the system's monotonic clock.

    ``text`` is the last user message, or what was to be embedded, one text a line. ``state`` is ``running``, ``held``
    (at a gate), ``finished`` or ``cancelled`` (the client went away before the answer was whole); ``finished`` is set
    for the last two. ``fault`` names what the provider was told to do wrong, ``in_flight`` counts the unfinished calls
    of the same kind at the arrival, this one included, and ``tokens_sent`` the pieces of text that a stream has sent.
    """

    id: int
    kind: Kind
    model: str
    stream: bool
    text: str
    request: Mapping[str, Any]
    headers: Mapping[str, str]
    arrived: float
    in_flight: int
    finished: float | None = None
    state: State = "running"
    status: int | None = None
    fault: str = ""
    content: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens_sent: int = 0

    @property
    def cancelled(self) -> bool:
        """Whether the client went away before the answer was whole."""
        return self.state == "cancelled"

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together, as reported in ``usage.total_tokens``."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def price_usd(self) -> float:
        """What the call cost; failed calls and lists of models cost nothing."""
        return PRICES.get(self.model, OTHER_PRICE).of(self.prompt_tokens, self.completion_tokens)

    @property
    def seconds(self) -> float | None:
        """From the arrival to the end, or None while unfinished."""
        return None if self.finished is None else self.finished - self.arrived


CALL_FIELDS = tuple(field.name for field in fields(Call))


@dataclass(frozen=True)
class Bill:
    """What calls cost together; calls for the list of models are not counted."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    price_usd: float = 0.0

    @classmethod
    def of(cls, calls: Iterable[Call]) -> Bill:
        """Add up some calls."""
        return cls().plus(calls)

    def plus(self, calls: Iterable[Call]) -> Bill:
        """Add calls to the bill."""
        paid = [call for call in calls if call.kind != "models"]
        return Bill(
            self.calls + len(paid),
            self.prompt_tokens + sum(call.prompt_tokens for call in paid),
            self.completion_tokens + sum(call.completion_tokens for call in paid),
            self.price_usd + sum(call.price_usd for call in paid),
        )

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, int | float]:
        """Give the bill as it stands in a report."""
        return asdict(self)


def peak(calls: Iterable[Call]) -> int:
    """Count how many of the calls were in flight at once, at most."""
    calls = list(calls)
    changes = [(call.arrived, 1) for call in calls]
    changes += [(call.finished, -1) for call in calls if call.finished is not None]
    return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls something is about; ``None`` is any."""

    containing: str | None = None
    kind: Kind | None = "chat"
    model: str | None = None

    def __call__(self, call: Call) -> bool:
        """Whether it is about this call."""
        return (
            self.kind in {None, call.kind}
            and self.model in {None, call.model}
            and (self.containing is None or self.containing in call.text)
        )


class Ledger:
    """The calls of one namespace in order of arrival. Only the ledger writes to a call; ``limit`` drops the oldest."""

    def __init__(self, limit: int | None = None) -> None:
        self.calls: dict[int, Call] = {}
        self._limit = limit
        self._settled = Bill()
        self._running = dict.fromkeys(get_args(Kind), 0)
        self._last = 0
        self._changed: set[asyncio.Event] = set()

    @property
    def last(self) -> int:
        """The number of the latest call; 0 before the first."""
        return self._last

    @property
    def running(self) -> int:
        """How many calls are unfinished."""
        return sum(self._running.values())

    def arrive(
        self, kind: Kind, model: str, text: str, request: Mapping[str, Any], headers: Mapping[str, str], *, stream: bool
    ) -> Call:
        """Enter a call that just came."""
        self._last += 1
        self._running[kind] += 1
        now = time.monotonic()
        call = Call(self._last, kind, model, stream, text, request, headers, now, self._running[kind])
        self.calls[call.id] = call
        if self._limit is not None and len(self.calls) > self._limit:
            self._settled = self._settled.plus([self.calls.pop(next(iter(self.calls)))])
        self.notify()
        return call

    def note(self, call: Call, **changes: Any) -> None:  # noqa: ANN401
        """Write down what became of a call."""
        vars(call).update(changes)
        if "state" in changes:
            self.notify()

    def end(self, call: Call, state: State = "finished", **changes: Any) -> None:  # noqa: ANN401
        """Write down that a call is over; of several ends the first counts."""
        if call.finished is None:
            self._running[call.kind] -= 1
            self.note(call, state=state, finished=time.monotonic(), **changes)

    def select(self, match: Match, *, state: State | None = None, since: int = 0) -> list[Call]:
        """Give the calls after number ``since`` that match and are in a state."""
        calls = self.calls.values() if since == 0 else self._after(since)
        return [call for call in calls if match(call) and state in {None, call.state}]

    def bill(self) -> Bill:
        """Add up everything since the start."""
        return self._settled.plus(self.calls.values())

    async def wait(self, changed: asyncio.Event, seconds: float) -> bool:
        """Wait for the event, set at each change of the ledger meanwhile; False when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            return False
        changed.clear()
        return True

    def subscribe(self) -> asyncio.Event:
        """Give an event that every change sets, until ``unsubscribe``."""
        event = asyncio.Event()
        self._changed.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Stop setting an event."""
        self._changed.discard(event)

    def _after(self, since: int) -> Iterable[Call]:
        return (self.calls[number] for number in range(since + 1, self._last + 1) if number in self.calls)

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        for event in self._changed:
            event.set()
