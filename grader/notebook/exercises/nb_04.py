"""Exercises of notebook 04, rate limiting."""

from __future__ import annotations

import random
from collections.abc import Callable

from grader.figures.limits import busiest, sliding_window
from grader.notebook.judge import demand, exercise_check

Allow = Callable[[list[float], float, int, float], bool]
Take = Callable[[float, float, float, float, float, float], tuple[bool, float]]


@exercise_check("04-window")
def window(allow: Allow, draw: random.Random) -> None:
    """`allow(passed, now, limit, window)`: whether there is room for one more in the last `window` seconds."""
    for _ in range(30):
        limit, width = draw.randint(1, 6), float(draw.randint(2, 20))
        arrivals = sorted(draw.uniform(0, 4 * width) for _ in range(8 * limit))
        _follow(allow, arrivals, limit, width)


def _follow(allow: Allow, arrivals: list[float], limit: int, width: float) -> None:
    kept: list[float] = []
    for at, right in zip(arrivals, sliding_window(arrivals, limit, width), strict=True):
        said = allow(list(kept), at, limit, width)
        recent = sum(each > at - width for each in kept)
        situation = f"limit {limit} in {width:g} s, {recent} passed in the last {width:g} s"
        demand(isinstance(said, bool), f"allow returned {said!r}; it has to return True or False")
        demand(said == right, f"allow said {said} where {right} is right: {situation}")
        if said:
            kept.append(at)
    demand(busiest(kept, width)[0] <= limit, "more than the limit passed within one window")


@exercise_check("04-bucket")
def bucket(take: Take, draw: random.Random) -> None:
    """`take(level, last, now, cost, capacity, refill)`: returns whether it may, and the level afterwards."""
    for _ in range(60):
        capacity, refill = float(draw.randint(2, 50)), draw.choice((0.5, 1.0, 2.0, 10.0))
        level, last = round(draw.uniform(0, capacity), 1), float(draw.randint(0, 100))
        now, cost = last + draw.choice((0.0, 0.5, 3.0, 1000.0)), float(draw.randint(1, int(capacity) + 2))
        held = min(capacity, level + (now - last) * refill)
        asked = f"take({level}, {last}, {now}, {cost}, {capacity}, {refill})"
        said = take(level, last, now, cost, capacity, refill)
        demand(isinstance(said, tuple) and len(said) == 2, f"{asked} has to return (allowed, level), not {said!r}")
        allowed, left = said
        demand(bool(allowed) == (held >= cost), f"{asked}: it holds {held:g}, so allowed is {held >= cost}")
        after = held - cost if held >= cost else held
        demand(abs(left - after) < 1e-6, f"{asked}: the level afterwards is {after:g}, not {left:g}")


@exercise_check("04-retry-after")
def retry_after(seconds: Callable[[float, float, float], int], draw: random.Random) -> None:
    """`retry_after(level, cost, refill)`: whole seconds after which the bucket holds enough."""
    for _ in range(60):
        refill, cost = draw.choice((0.1, 0.5, 1.0, 3.0, 10.0)), float(draw.randint(1, 20))
        level = round(draw.uniform(0, cost - 0.01), 2)
        said = seconds(level, cost, refill)
        asked = f"retry_after({level}, {cost}, {refill})"
        demand(isinstance(said, int) and not isinstance(said, bool), f"{asked} has to be a whole number, not {said!r}")
        demand(said >= 1, f"{asked} is {said}: a client that waits {said} s has not waited")
        demand(level + said * refill >= cost - 1e-9, f"{asked} is {said}: after {said} s there is still too little")
        demand(said == 1 or level + (said - 1) * refill < cost + 1e-9, f"{asked} is {said}: one second less suffices")
