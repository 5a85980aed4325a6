"""Section 6: what a mean hides, what percentiles tell, and how far a Prometheus histogram may be off.

Latencies are seconds. The sample is lognormal with a share of slow requests, from a fixed seed.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

from grader.figures.controls import Choice, Slider, stops
from grader.figures.theme import Figure, Params, Table, View

SIZE = 2000
LAYOUTS = {
    "default": (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    "coarse": (0.1, 1.0, 10.0),
    "fitted": (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0),
}
"""Upper bounds of the buckets; `default` is prometheus_client's. A last bucket up to +Inf always follows."""


@cache
def _noise() -> tuple[tuple[float, float], ...]:
    draw = random.Random(17)
    return tuple((draw.gauss(0, 1), draw.random()) for _ in range(SIZE))


def sample(median: float, slow_share: float, slow_times: float) -> list[float]:
    """Return 2,000 latencies, sorted; a share of them takes `slow_times` as long."""
    return sorted(median * math.exp(0.45 * z) * (slow_times if u < slow_share else 1) for z, u in _noise())


def percentile(ordered: Sequence[float], q: float) -> float:
    """Return the smallest value that at least a share `q` of the values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def cumulative(ordered: Sequence[float], bounds: Sequence[float]) -> list[int]:
    """Count the values up to each bound, and all of them at last: the `le` series of a histogram."""
    return [sum(1 for _ in ordered[: bisect_left(ordered, math.nextafter(bound, math.inf))]) for bound in bounds] + [
        len(ordered)
    ]


def histogram_quantile(q: float, bounds: Sequence[float], counts: Sequence[int]) -> float:
    """Estimate a quantile as Prometheus does: the values of a bucket lie evenly between its bounds.

    In the last bucket, up to +Inf, the answer is its lower bound, however slow the requests were.
    """
    rank = q * counts[-1]
    index = next(i for i, count in enumerate(counts) if count >= rank)
    if index == len(bounds):
        return bounds[-1]
    low = bounds[index - 1] if index else 0.0
    below = counts[index - 1] if index else 0
    inside = counts[index] - below
    return low + (bounds[index] - low) * ((rank - below) / inside if inside else 1.0)


def bars(ordered: Sequence[float], low: float, high: float, count: int = 60) -> list[int]:
    """Count values in `count` stretches of equal ratio between `low` and `high`."""
    heights = [0] * count
    width = math.log(high / low) / count
    for value in ordered:
        heights[min(count - 1, max(0, int(math.log(value / low) / width)))] += 1
    return heights


def _percentiles(p: Params) -> View:
    values = sample(p["median"], p["slow"], p["times"])
    q, bounds = p["p"] / 100, LAYOUTS[p["buckets"]]
    counts = cumulative(values, bounds)
    true, guess = percentile(values, q), histogram_quantile(q, bounds, counts)
    mean = sum(values) / len(values)
    marks = {
        "mean": mean,
        "p50": percentile(values, 0.5),
        "p95": percentile(values, 0.95),
        "p99": percentile(values, 0.99),
    }
    low, high = 0.05, 100.0
    scene = {
        "bars": bars(values, low, high),
        "low": low,
        "high": high,
        "marks": marks,
        "p": p["p"],
        "true": true,
        "guess": guess,
        "bounds": bounds,
        "counts": counts,
        "above": sum(v > mean for v in values) / len(values),
    }
    say = (
        f"The mean is {mean:.2f} s, yet one request in twenty takes longer than **{marks['p95']:.2f} s** and one in a "
        f"hundred longer than **{marks['p99']:.2f} s**. "
    )
    say += f"p{p['p']:g} is {true:.2f} s; the histogram's buckets say **{guess:.2f} s** ({(guess - true) / true:+.0%})."
    if guess == bounds[-1]:
        say += " It lies in the last bucket: the histogram cannot tell how slow."
    starts = [0.0, *bounds]
    rows = [
        (
            f"{lo:g} to {'+Inf' if i == len(bounds) else format(bounds[i], 'g')}",
            counts[i] - (counts[i - 1] if i else 0),
            counts[i],
        )
        for i, lo in enumerate(starts)
    ]
    return View(scene, say, Table("The histogram that Prometheus keeps", ["bucket, s", "requests", "up to here"], rows))


def percentiles(**start: object) -> Figure:
    """Show latencies, their mean and percentiles, and what a histogram with given buckets reports."""
    controls = (
        Slider("p", "Percentile p", 1, 99.9, 99, 0.1),
        Choice(
            "buckets",
            "Buckets of the histogram",
            (("default", "client's default"), ("coarse", "three"), ("fitted", "made for models")),
            "default",
        ),
        stops("median", "A usual request takes", 1.0, (0.1, 0.2, 0.5, 1, 2, 5), "s"),
        stops("slow", "Slow requests", 0.08, (0, 0.01, 0.02, 0.05, 0.08, 0.1, 0.2), "%"),
        Slider("times", "A slow one takes", 2, 20, 8, unit="times as long"),
    )
    title, question = (
        "The mean nobody feels",
        "2,000 requests. What does the average hide, and what does your dashboard make of it?",
    )
    return Figure("percentiles", title, question, controls, _percentiles, start)
