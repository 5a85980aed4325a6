"""Exercises of notebook 01, from prototype to production."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from grader.notebook.judge import WrongError, demand, exercise_check

AllNeeded = Callable[[list[float]], float]
AnySuffices = Callable[[float, int], float]


@exercise_check("01-budget")
def budget(minutes_down: Callable[..., float], draw: random.Random) -> None:
    """`minutes_down(availability, days=30)`: the minutes that an availability leaves for being down."""
    _compare("minutes_down(0.999)", minutes_down(0.999), 43.2)
    for _ in range(20):
        share, days = draw.choice((0.9, 0.99, 0.995, 0.9999, 1.0)), draw.randint(1, 365)
        _compare(f"minutes_down({share}, {days})", minutes_down(share, days), (1 - share) * days * 24 * 60)


@exercise_check("01-chain")
def chain(functions: tuple[AllNeeded, AnySuffices], draw: random.Random) -> None:
    """`all_needed(parts)` and `any_suffices(part, n)`: availabilities in series and side by side."""
    all_needed, any_suffices = functions
    _compare("all_needed([])", all_needed([]), 1.0)
    for _ in range(20):
        parts = [round(draw.uniform(0.5, 1), 3) for _ in range(draw.randint(1, 6))]
        _compare(f"all_needed({parts})", all_needed(list(parts)), math.prod(parts))
        part, n = round(draw.uniform(0.3, 1), 3), draw.randint(1, 5)
        _compare(f"any_suffices({part}, {n})", any_suffices(part, n), 1 - (1 - part) ** n)


@exercise_check("01-share")
def share(share_within: Callable[[Sequence[float], float], float], draw: random.Random) -> None:
    """`share_within(seconds, limit)`: which share of the answers took at most the limit."""
    _compare("share_within([], 0.2)", share_within([], 0.2), 1.0)
    _compare("share_within([0.2, 0.3], 0.2)", share_within([0.2, 0.3], 0.2), 0.5)
    for _ in range(20):
        limit = draw.choice((0.1, 0.2, 1.0, 5.0))
        seconds = [round(draw.uniform(0, 2 * limit), 3) for _ in range(draw.randint(1, 12))]
        good = sum(each <= limit for each in seconds) / len(seconds)
        _compare(f"share_within({seconds}, {limit})", share_within(list(seconds), limit), good)


def _compare(asked: str, said: object, right: float) -> None:
    if not isinstance(said, int | float) or isinstance(said, bool):
        raise WrongError(f"{asked} has to be a number, not {said!r}")
    demand(math.isclose(said, right, rel_tol=1e-9, abs_tol=1e-9), f"{asked} is {right:g}, not {said:g}")
