"""Exercises of notebook 10, incidents."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from grader.notebook.judge import demand, exercise_check

Quantile = Callable[[float, list[tuple[float, int]]], float]
LongestGap = Callable[[list[str], str], tuple[str, str]]
HoursLeft = Callable[[float, int, float, float], float]
Diagnose = Callable[[dict[str, float]], str]

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EVENTS = ("forwarded", "authenticated", "cache miss", "provider called", "provider answered", "stored", "answered")
NOISE = (
    "Traceback (most recent call last):",
    '  File "app/model.py", line 3, in ask',
    "",
    "ValueError: {",
    "[1, 2]",
    "7",
)


@exercise_check("10-quantile")
def quantile(asked_for: Quantile, draw: random.Random) -> None:
    """`quantile(q, buckets)`: what Prometheus's histogram_quantile makes of cumulative buckets."""
    for _ in range(60):
        bounds = [*sorted(draw.sample(BOUNDS, draw.randint(2, 6))), math.inf]
        total, buckets = 0, []
        for bound in bounds:
            total += draw.choice((0, 1, 5, 20, 100))
            buckets.append((bound, total))
        if not total:
            continue
        q = draw.choice((0.5, 0.9, 0.95, 0.99))
        said, right = asked_for(q, list(buckets)), _interpolated(q, buckets)
        asked = f"quantile({q}, {buckets})"
        demand(isinstance(said, int | float), f"{asked} has to be a number of seconds, not {said!r}")
        demand(abs(said - right) < 1e-6, f"{asked} is {right:g}, not {said:g}")


def _interpolated(q: float, buckets: list[tuple[float, int]]) -> float:
    rank, below, begin = q * buckets[-1][1], 0, 0.0
    for bound, count in buckets:
        if count >= rank:
            return begin if bound == math.inf else begin + (bound - begin) * (rank - below) / (count - below)
        below, begin = count, bound
    return begin


@exercise_check("10-gap")
def gap(longest_gap: LongestGap, draw: random.Random) -> None:
    """`longest_gap(lines, request_id)`: the neighbours in time between which a request spent most."""
    for _ in range(25):
        begin = datetime(2026, 3, 2, 23, 59, 57, tzinfo=UTC)  # midnight comes in between
        stories = {name: _story(begin, draw) for name in ("r-7f3a", "r-c41e", "r-09bd")}
        lines = [_line(at, event, name) for name, story in stories.items() for at, event in story]
        lines += [_line(begin + timedelta(seconds=draw.uniform(0, 6)), "heartbeat", None) for _ in range(3)]
        lines += draw.sample(NOISE, 3)
        draw.shuffle(lines)
        for name, story in stories.items():
            (_, before), (_, after) = max(pairwise(story), key=lambda pair: pair[1][0] - pair[0][0])
            said = longest_gap(list(lines), name)
            told = "; ".join(f"{at:%H:%M:%S.%f} {event}" for at, event in story)
            demand(tuple(said) == (before, after), f"{name} is {(before, after)}, not {said!r}. Its lines: {told}")


def _story(begin: datetime, draw: random.Random) -> list[tuple[datetime, str]]:
    """Give the events of a request, in order; one gap is clearly the longest."""
    events, at, story = EVENTS[: draw.randint(3, len(EVENTS))], begin, []
    slow = draw.randrange(1, len(events))
    for index, event in enumerate(events):
        at += timedelta(seconds=draw.uniform(2, 4) if index == slow else draw.uniform(0.01, 0.3))
        story.append((at, event))
    return story


def _line(at: datetime, event: str, request_id: str | None) -> str:
    named = {"request_id": request_id} if request_id else {}
    return json.dumps({"timestamp": at.isoformat(), "level": "info", "event": event, **named})


@exercise_check("10-budget")
def budget(hours_left: HoursLeft, draw: random.Random) -> None:
    """`hours_left(slo, days, used, failing)`: hours until the error budget of the window is empty."""
    for _ in range(60):
        slo, days = draw.choice((0.99, 0.995, 0.999, 0.9995)), draw.choice((7, 28, 30))
        used, failing = draw.choice((0.0, 0.25, 0.5, 0.9, 1.0, 1.3)), draw.choice((0.0, 0.001, 0.02, 0.1, 1.0))
        right = 0.0 if used >= 1 else math.inf if not failing else (1 - used) * (1 - slo) * days * 24 / failing
        said = hours_left(slo, days, used, failing)
        asked = f"hours_left({slo}, {days}, {used}, {failing})"
        demand(isinstance(said, int | float), f"{asked} has to be a number of hours, not {said!r}")
        demand(math.isclose(said, right, rel_tol=1e-6, abs_tol=1e-9), f"{asked} is {right:.4g} hours, not {said:.4g}")


@exercise_check("10-diagnose")
def diagnose(named: Diagnose, draw: random.Random) -> None:
    """`diagnose(e)`: a cause from numbers, the event loop first."""
    for _ in range(30):
        for cause in ("blocked loop", "retry storm", "stampede", "pool exhausted", "healthy"):
            evidence = _evidence(cause, draw)
            said = named(dict(evidence))
            demand(said == cause, f"diagnose({evidence}) is {cause!r}, not {said!r}: {WHY[cause]}")


WHY = {
    "blocked loop": "/livez touches nothing and is late all the same; what else looks odd may follow from that",
    "retry storm": "each request calls the model several times",
    "stampede": "the same question stands at the model many times at once",
    "pool exhausted": "somebody waits for a connection",
    "healthy": "nothing waits, nothing multiplies; a busy CPU or a slow model is no fault of the service",
}


def _evidence(cause: str, draw: random.Random) -> dict[str, float]:
    """Draw what one cause shows; a blocked loop may look like any other as well."""
    shown: dict[str, float] = {
        "livez_ms": draw.randint(1, 90),
        "calls_per_request": draw.choice((0.2, 0.7, 1.0, 1.1)),
        "equal_calls": draw.randint(0, 3),
        "pool_waiting": 0,
        "p95_ms": draw.randint(300, 9000),
        "errors": draw.choice((0.0, 0.001, 0.2)),
        "cpu": draw.choice((0.03, 0.4, 0.97)),
    }
    odd: dict[str, dict[str, float]] = {
        "retry storm": {"calls_per_request": draw.choice((3.0, 6.5, 9.0))},
        "stampede": {"equal_calls": draw.randint(8, 60)},
        "pool exhausted": {"pool_waiting": draw.randint(1, 40)},
    }
    if cause == "blocked loop":
        shown["livez_ms"] = draw.randint(800, 9000)
        cause = draw.choice([*odd, "alone"])
    return shown | odd.get(cause, {})
