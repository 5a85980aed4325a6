"""Allowances: what of a caller's requests may pass in a time, judged by counting between two bounds."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from grader.exchange import Exchange, Prepared, burst
from grader.expectation import Broken, Inconclusive, demand, expect
from grader.patience import Stopwatch

STARVED = 0.5
"""Seconds without a processor from which a count proves nothing: time limits of Redis clients are of this size."""

TRIES = 3
REST_S = 1.5
"""Seconds in which a service that took a slow Redis for a lost one has turned to it again (lab 7 gives it 5)."""

SOUND_S = 0.2
"""An answer within so many seconds has not waited for Redis in vain: hardly a client gives it up sooner."""


class Surplus(Broken):
    """More passed than may, yet no more than processes let pass that count by themselves for a moment.

    It is ``sound`` when no answer was so slow that its process may have waited for Redis in vain.
    """

    sound = False


def surely(promise: Callable[[], None], doubtful: type[Broken] = Broken) -> None:
    """See whether a promise is kept, and see again if it is ``doubtful``.

    On a busy machine a process may take Redis for lost and rightly count by itself for a moment; one that always counts
    by itself breaks the promise every time. On a machine without free processors only a sound surplus proves something.
    """
    watch = Stopwatch()
    for _ in range(TRIES - 1):
        try:
            return promise()
        except doubtful:
            time.sleep(REST_S)
    try:
        return promise()
    except Surplus as surplus:
        watch.stop()
        if surplus.sound or watch.starved <= STARVED:
            raise
        raise Inconclusive(f"{surplus.message} {_excuse(watch.starved)}") from None


def _excuse(starved: float) -> str:
    return (
        f"But the machine had no processor free for {starved:.1f} s meanwhile: a service may take Redis for lost then, "
        "and count by itself. Close other programs and grade again."
    )


@dataclass(frozen=True)
class Tally:
    """One caller's requests: those that passed, and those that were refused with 429."""

    exchanges: tuple[Exchange, ...]
    starved: float = 0.0

    @classmethod
    def of(cls, exchanges: Iterable[Exchange]) -> Tally:
        """Count requests, each of which was answered 200 or 429."""
        kept = tuple(exchanges)
        for exchange in kept:
            expect(exchange).status(200, 429)
        return cls(kept)

    @classmethod
    def of_burst(cls, requests: Sequence[Prepared]) -> Tally:
        """Send requests that complete at the same instant, and count; notes how long processors were waited for."""
        watch = Stopwatch()
        answers = burst(requests, timeout=30)
        watch.stop()
        return replace(cls.of(answers), starved=watch.starved)

    @property
    def passed(self) -> list[Exchange]:
        """Those answered 200."""
        return [one for one in self.exchanges if one.status == 200]

    @property
    def refused(self) -> list[Exchange]:
        """Those answered 429."""
        return [one for one in self.exchanges if one.status == 429]

    @property
    def elapsed(self) -> float:
        """Seconds from the first request to the last answer: time in which an allowance may have grown."""
        return self._ended - self._began

    @property
    def _began(self) -> float:
        return min(one.started for one in self.exchanges)

    @property
    def _ended(self) -> float:
        return max(one.finished for one in self.exchanges)

    def straddles(self, window: float) -> bool:
        """Whether the wall clock has passed a multiple of ``window`` (seconds; 0: none) between first and last."""
        if not window:
            return False
        ahead = time.time() - time.monotonic()
        first, last = (ahead + moment for moment in (self._began - 0.05, self._ended + 0.05))
        return first // window < last // window

    def verify(
        self,
        limit: int,
        rate: float,
        how: str,
        *,
        price: int = 1,
        slack: int = 0,
        processes: int = 1,
        window: float = 0.0,
    ) -> None:
        """At least ``limit`` could pass, and at most what was gained at ``rate`` per second meanwhile was added.

        Each request costs ``price``. ``how`` says how the requests were sent. Never an equality: time can add. If the
        machine was busy, one limit more for each of the ``processes`` is not held against the service; nor is one more
        where the wall clock has passed a multiple of ``window`` (0: none), at which some limiters begin to count anew.
        """
        wanted = min(len(self.exchanges), limit // price)
        said = f"Of {len(self.exchanges)} requests {how}, {len(self.passed)} passed within {self.elapsed:.2f} s"
        enough = len(self.passed) >= wanted
        demand(enough, f"{said}; at least {wanted} had to.", self.refused[:1] or self.exchanges[:1])
        most = (limit + math.floor(self.elapsed * rate) + slack) // price
        excess = len(self.passed) - most
        if 0 < excess <= processes * limit // price and self.starved > STARVED:
            raise Inconclusive(f"{said}; at most {most} may. {_excuse(self.starved)}")
        if 0 < excess <= limit // price and self.straddles(window):
            raise Inconclusive(f"{said}, but meanwhile a window of the wall clock has ended. Grade again.")
        if excess > 0:
            broken = Surplus if excess <= processes * limit // price else Broken
            problem = broken(f"{said}; at most {most} may.", self.passed[-1:])
            if isinstance(problem, Surplus):
                problem.sound = self.starved > 0 or max(one.seconds for one in self.exchanges) < SOUND_S
            raise problem


def retry_after(exchange: Exchange, most: float = math.inf) -> int:
    """Return the whole seconds that a refusal asks to wait, from 1 to ``most``."""
    asked = exchange.headers.get("retry-after", "")
    bounds = f"whole seconds, 1 to {most:g}" if most < math.inf else "whole seconds, at least 1"
    expect(exchange).status(429)
    expect(exchange).header(
        "Retry-After", lambda text: text.isascii() and text.isdigit() and 1 <= int(text) <= most, what=bounds
    )
    return int(asked)


def announced(exchange: Exchange, limit: int) -> tuple[int | None, int | None]:
    """The limit and the remainder that an answer tells, in the old form or in the draft's (None: not told)."""
    old = [exchange.headers.get(f"x-ratelimit-{name}") for name in ("limit", "remaining")]
    if any(old):
        numbers = [re.match(r"\s*(\d+)", text or "") for text in old]
        return tuple(int(match[1]) if match else None for match in numbers)  # type: ignore[return-value]
    policies = dict(re.findall(r'"([^"]*)"[^,]*?;\s*q=(\d+)', exchange.headers.get("ratelimit-policy", "")))
    rests = dict(re.findall(r'"([^"]*)"[^,]*?;\s*r=(\d+)', exchange.headers.get("ratelimit", "")))
    name = next((name for name, quota in policies.items() if int(quota) == limit), next(iter(policies), None))
    rest = rests.get(name) if name is not None else next(iter(rests.values()), None)
    return int(policies[name]) if name is not None else None, int(rest) if rest is not None else None


def sleep_until(moment: float) -> None:
    """Sleep until a time of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def clear_of_boundary(window: float, need: float = 2.0) -> None:
    """Wait past the next multiple of the window on the wall clock, if it is so near that a burst could straddle it.

    Counting windows that follow the wall clock have a check of their own; the others shall not depend on luck.
    """
    left = window - time.time() % window
    if left < need:
        time.sleep(left + 0.05)


def sleep_into_boundary(window: float, before: float) -> None:
    """Wait until ``before`` seconds before a multiple of the window on the wall clock."""
    time.sleep((window - before - time.time()) % window)
