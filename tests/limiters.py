"""Rate limiters on somebody else's clock: each algorithm as the contract allows it, and each with its usual faults."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Moment:
    """A time on both clocks: the one that only goes on, and the one on the wall."""

    steady: float
    wall: float


class Limiter(Protocol):
    """Says for how many seconds a request must wait; if for none, it has been counted."""

    def take(self, caller: str, at: Moment, price: int = 1) -> float: ...
    def left(self, caller: str, at: Moment) -> float: ...


@dataclass
class TokenBucket:
    """Tokens that come back with time, never more than the capacity; also what GCRA says in other words."""

    limit: float
    window: float
    hoards: bool = False
    kept: dict[str, tuple[float, float]] = field(default_factory=dict)

    def left(self, caller: str, at: Moment) -> float:
        level, since = self.kept.get(caller, (self.limit, at.steady))
        level += (at.steady - since) * self.limit / self.window
        return level if self.hoards else min(self.limit, level)

    def take(self, caller: str, at: Moment, price: int = 1) -> float:
        level = self.left(caller, at)
        if level + 1e-9 < price:
            return (price - level) * self.window / self.limit
        self.kept[caller] = (level - price, at.steady)
        return 0.0


@dataclass
class SlidingLog:
    """The times of all that passed in the last window."""

    limit: int
    window: float
    counts_refused: bool = False
    kept: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def left(self, caller: str, at: Moment) -> float:
        return self.limit - sum(at.steady - time < self.window for time in self.kept[caller])

    def take(self, caller: str, at: Moment, price: int = 1) -> float:
        del price
        times = [time for time in self.kept[caller] if at.steady - time < self.window]
        self.kept[caller] = times
        if len(times) < self.limit:
            times.append(at.steady)
            return 0.0
        wait = times[-self.limit] + self.window - at.steady
        if self.counts_refused:
            times.append(at.steady)
        return max(wait, 1e-9)


@dataclass
class FixedWindow:
    """A count that begins anew with each window: after a caller's first request, or at multiples on the wall clock."""

    limit: int
    window: float
    aligned: bool = False
    kept: dict[str, tuple[float, int]] = field(default_factory=dict)

    def _now(self, at: Moment) -> float:
        return at.wall if self.aligned else at.steady

    def _current(self, caller: str, at: Moment) -> tuple[float, int]:
        now = self._now(at)
        begun, count = self.kept.get(caller, (-math.inf, 0))
        if now < begun + self.window:
            return begun, count
        return (now - now % self.window if self.aligned else now), 0

    def left(self, caller: str, at: Moment) -> float:
        return self.limit - self._current(caller, at)[1]

    def take(self, caller: str, at: Moment, price: int = 1) -> float:
        del price
        begun, count = self._current(caller, at)
        if count >= self.limit:
            return max(begun + self.window - self._now(at), 1e-9)
        self.kept[caller] = (begun, count + 1)
        return 0.0


@dataclass
class WeightedWindow:
    """Two windows of the wall clock, the former counted by the share of it that is still within one window."""

    limit: int
    window: float
    kept: defaultdict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))

    def _counts(self, caller: str, wall: float) -> tuple[int, int, float]:
        """The former window's count, the current one's, and the share of the current one that is over."""
        number, into = divmod(wall, self.window)
        return self.kept[caller, int(number) - 1], self.kept[caller, int(number)], into / self.window

    def left(self, caller: str, at: Moment) -> float:
        former, current, over = self._counts(caller, at.wall)
        return math.ceil(self.limit - former * (1 - over) - current)

    def take(self, caller: str, at: Moment, price: int = 1) -> float:
        del price
        former, current, over = self._counts(caller, at.wall)
        if former * (1 - over) + current < self.limit:
            self.kept[caller, int(at.wall // self.window)] += 1
            return 0.0
        enough = 1 - (self.limit - current) / former if current < self.limit else 1.0
        return (enough - over) * self.window + 0.001


@dataclass
class Late:
    """A fault: it looks at the count, and counts what has passed only some seconds later, when others have looked."""

    inner: Limiter
    delay: Callable[[], float]
    uncounted: defaultdict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def _settle(self, caller: str, at: Moment) -> None:
        due = [(time, price) for time, price in self.uncounted[caller] if time <= at.steady]
        self.uncounted[caller] = [each for each in self.uncounted[caller] if each not in due]
        for _, price in due:
            self.inner.take(caller, at, price)

    def left(self, caller: str, at: Moment) -> float:
        self._settle(caller, at)
        return self.inner.left(caller, at)

    def take(self, caller: str, at: Moment, price: int = 1) -> float:
        if self.left(caller, at) < price:
            return self.inner.take(caller, at, price) or 1.0
        self.uncounted[caller].append((at.steady + self.delay(), price))
        return 0.0


@dataclass
class Unlimited:
    """A fault: everything passes."""

    def left(self, caller: str, at: Moment) -> float:
        del caller, at
        return math.inf

    def take(self, caller: str, at: Moment, price: int = 1) -> float:
        del caller, at, price
        return 0.0


Make = Callable[[int, float], Limiter]
"""Makes a limiter for so many requests in a window of so many seconds."""

RIGHT: dict[str, Make] = {
    "token bucket": TokenBucket,
    "sliding log": SlidingLog,
    "fixed window": FixedWindow,
    "fixed window on the wall clock": lambda limit, window: FixedWindow(limit, window, aligned=True),
    "weighted window": WeightedWindow,
}


def shifted(make: Make, by: int) -> Make:
    """Return what makes a limiter that lets so many more pass."""
    return lambda limit, window: make(limit + by, window)


ONE_MORE: dict[str, Make] = {name: shifted(make, 1) for name, make in RIGHT.items()}
ONE_LESS: dict[str, Make] = {name: shifted(make, -1) for name, make in RIGHT.items()}
