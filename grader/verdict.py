"""Verdicts about speed that a busy machine cannot turn: sequential tests on measurements, which may stay undecided.

A single figure over a limit proves nothing on a shared machine. Here many small comparisons with a reference service,
measured in between, each say better, worse or nothing; a walk over them ends only where chance would hardly lead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise


class Verdict(StrEnum):
    """What a comparison says."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"


def tail(beyond: Iterable[bool], *, few: float = 0.02, many: float = 0.10, risk: float = 0.01) -> Verdict:
    """Decide whether a share of at most ``few``, or of at least ``many``, of all values lies beyond a limit.

    Wald's sequential probability ratio test (Annals of Mathematical Statistics 16, 1945): the first bound that is
    crossed decides, with a probability of error of at most about ``risk`` for independent values.
    """
    bound = math.log((1 - risk) / risk)
    evidence = 0.0
    for each in beyond:
        evidence += math.log(many / few) if each else math.log((1 - many) / (1 - few))
        if evidence >= bound:
            return Verdict.BAD
        if evidence <= -bound:
            return Verdict.GOOD
    return Verdict.OPEN


def walk(steps: Iterable[Verdict], *, to_good: int, to_bad: int) -> Verdict:
    """Walk a step down for each good and up for each bad comparison, until so many more are good, or bad.

    A comparison that is wrong once in ten times for a good service leads to the bad end, four steps away, about once in
    6,000 runs (gambler's ruin).
    """
    net = 0
    for step in steps:
        net += {Verdict.BAD: 1, Verdict.GOOD: -1, Verdict.OPEN: 0}[step]
        if net >= to_bad:
            return Verdict.BAD
        if net <= -to_good:
            return Verdict.GOOD
    return Verdict.OPEN


def compare(
    own: Sequence[float], before: Sequence[float], after: Sequence[float], *, limit: float, grace: float
) -> Verdict:
    """Compare the slowest twentieth of one block of requests with the reference's blocks before and after it (seconds).

    Good: hardly any is beyond ``limit``, or beyond it and what the reference needed. Bad: far too many are beyond
    limit, reference and ``grace``. Open: anything between, and any slowness that the reference shares.
    """
    reference = max(percentile(before, 0.95), percentile(after, 0.95))
    for allowed in (limit, limit + reference):
        if tail(value > allowed for value in own) is Verdict.GOOD:
            return Verdict.GOOD
    if reference > limit:
        return Verdict.OPEN
    beyond = tail(value > limit + reference + grace for value in own)
    return Verdict.BAD if beyond is Verdict.BAD else Verdict.OPEN


def costs(own: float, reference: float, *, factor: float) -> Verdict:
    """Compare what one request costs with what it costs the reference."""
    if min(own, reference) <= 0:
        return Verdict.OPEN
    return Verdict.BAD if own > factor * reference else Verdict.GOOD


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all values do not exceed; 0 for no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def growth(readings: Sequence[tuple[int, float]]) -> float:
    """Return how much something grows with each request: the least over segments, so that a single step is no leak.

    A reading is (requests so far, amount). The first segment warms up and does not count; with fewer than three
    segments the answer is 0.
    """
    steps = [
        (amount - less) / (count - fewer) for (fewer, less), (count, amount) in pairwise(readings) if count > fewer
    ]
    return max(0.0, min(steps[1:])) if len(steps) >= 3 else 0.0
