"""Section 9: why queues explode near saturation (M/M/c), and Little's law.

Rates are per second, times seconds. Arrivals are a Poisson stream, service times exponential, one queue, c servers.
Sources: A. K. Erlang 1917 (the waiting formula C), J. D. C. Little 1961 (L = λ·W).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapreplace

from grader.figures.controls import stops
from grader.figures.theme import Figure, Params, Table, View, counted

RUN, SHOWN = 10_000, 500
LOADS = tuple(i / 100 for i in (*range(5, 96, 5), 97, 98, 99))


def erlang_c(servers: int, offered: float) -> float:
    """Return the chance that an arrival must wait; `offered` = arrival rate x mean service time, below `servers`."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    busy = offered / servers
    return blocked / (1 - busy + busy * blocked)


def mean_wait(servers: int, service: float, load: float) -> float:
    """Return the mean time in the queue, seconds, at a utilisation `load` below 1."""
    return erlang_c(servers, servers * load) * service / (servers * (1 - load))


def wait_quantile(servers: int, service: float, load: float, q: float) -> float:
    """Return the time in the queue that a share q of the arrivals does not exceed."""
    chance = erlang_c(servers, servers * load)
    return 0.0 if chance <= 1 - q else math.log(chance / (1 - q)) * service / (servers * (1 - load))


@dataclass(frozen=True)
class Visit:
    """One customer: arrived, began to be served, left."""

    at: float
    begin: float
    done: float


def visits(servers: int, service: float, load: float, count: int, seed: int = 20) -> list[Visit]:
    """Simulate the first `count` customers of an empty system, served in the order of arrival."""
    draw = random.Random(seed)
    free, now, seen = [0.0] * servers, 0.0, []
    for _ in range(count):
        now += draw.expovariate(servers * load / service)
        begin = max(now, free[0])
        done = begin + draw.expovariate(1 / service)
        heapreplace(free, done)
        seen.append(Visit(now, begin, done))
    return seen


def waiting(seen: list[Visit], moments: list[float]) -> list[int]:
    """Count who stands in the queue at each moment."""
    came, began = [v.at for v in seen], sorted(v.begin for v in seen)
    return [bisect_right(came, t) - bisect_right(began, t) for t in moments]


@lru_cache(maxsize=64)
def unit_run(servers: int, load: float) -> tuple[float, list[int], float]:
    """Simulate RUN customers with a mean service time of 1: mean wait, the queue over the last SHOWN, their time."""
    seen = visits(servers, 1.0, load, RUN)
    begin, end = seen[-SHOWN].at, seen[-1].at
    line = waiting(seen, [begin + (end - begin) * i / 300 for i in range(301)])
    return sum(v.begin - v.at for v in seen) / RUN, line, end - begin


def _queue(p: Params) -> View:
    c, service, load = p["servers"], p["service"], p["load"]
    wait, tail = mean_wait(c, service, load), wait_quantile(c, service, load, 0.95)
    measured, line, length = unit_run(c, load)
    measured, length = measured * service, length * service
    curve = [(rho / 100, mean_wait(c, service, rho / 100) + service) for rho in range(1, 100)]
    say = (
        f"At {load:.0%} use of {counted(c, 'server')} a request of {service:g} s waits {wait:.2f} s on "
        f"average, so it takes **{(wait + service) / service:.1f} times** as long as alone; one in twenty waits "
        f"longer than {tail:.1f} s."
    )
    say += (
        f" Simulated, {RUN:,} requests waited {measured:.2f} s on average; the last {SHOWN} of them, below, saw a "
        f"queue of up to {max(line)}."
    )
    scene = {
        "curve": curve,
        "load": load,
        "response": wait + service,
        "service": service,
        "line": line,
        "end": length,
        "tail": tail,
        "mean": erlang_c(c, c * load) * load / (1 - load),
    }
    rows = [
        (
            f"{rho:.0%}",
            round(mean_wait(c, service, rho), 3),
            round(r, 3),
            round(wait_quantile(c, service, rho, 0.95), 3),
        )
        for rho, r in curve
        if rho in LOADS
    ]
    return View(
        scene,
        say,
        Table(
            "The formula of Erlang", ["utilisation", "mean wait, s", "mean response, s", "95% wait less than, s"], rows
        ),
    )


def queue_growth(**start: object) -> Figure:
    """Show response time and queue length as utilisation comes near 1."""
    controls = (
        stops("load", "Utilisation", 0.7, LOADS, "%"),
        stops("servers", "Servers (slots)", 1, (1, 2, 3, 4, 6, 8, 12, 16, 32)),
        stops("service", "One request takes", 1, (0.05, 0.1, 0.2, 0.5, 1, 2, 5), "s"),
    )
    title, question = "The last ten per cent", "There is capacity left, and yet everybody waits. Why?"
    return Figure("queue", title, question, controls, _queue, start)


def _little(p: Params) -> View:
    rate, stay = p["rate"], p["stay"]
    draw = random.Random(9)
    count = 40
    spread = count / rate
    came = sorted(draw.uniform(0, spread) for _ in range(count))
    seen = [(at, at + stay * (0.4 + 1.2 * draw.random())) for at in came]
    end = max(done for _, done in seen)
    inside = sum(done - at for at, done in seen)
    lam, w = count / end, inside / count
    say = (
        f"{rate:g} requests a second that stay {stay:g} s each: on average **{rate * stay:g} are inside at once** (L "
        f"= λ·W). That many slots, threads or connections are busy. In the run: {lam:.2f} a second · {w:.2f} s = "
        f"{lam * w:.2f}."
    )
    scene = {
        "came": [at for at, _ in seen],
        "left": sorted(done for _, done in seen),
        "end": end,
        "inside": inside / end,
        "law": rate * stay,
    }
    rows = [(i + 1, round(at, 2), round(done, 2), round(done - at, 2)) for i, (at, done) in enumerate(seen)]
    return View(scene, say, Table("Every request of the run", ["request", "came, s", "left, s", "stayed, s"], rows))


def littles_law(**start: object) -> Figure:
    """Show Little's law as the area between arrivals and departures."""
    controls = (
        stops("rate", "Arrivals λ", 2, (0.5, 1, 2, 5, 10, 20, 50), "a second"),
        stops("stay", "Each stays W", 3, (0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 30), "s"),
    )
    title, question = (
        "How many at once?",
        "Only two numbers are needed to know how many requests are inside. No distribution matters.",
    )
    return Figure("little", title, question, controls, _little, start)
