"""Section 9: an autoscaler over a day, and the arithmetic of connection pools.

Demand is in requests a second, one step is a minute; a replica serves `CAPACITY` requests a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from grader.figures.controls import Slider, Switch, stops
from grader.figures.theme import Figure, Params, Table, View, counted

DAY_MIN, CAPACITY = 24 * 60, 10.0


def demand(minute: int, *, spike: bool) -> float:
    """Return a day's demand: quiet at night, a hump before noon and a higher one in the afternoon, maybe a spike."""
    hour = minute / 60
    humps = 22 * math.exp(-(((hour - 10.5) / 2.2) ** 2)) + 34 * math.exp(-(((hour - 16) / 2.6) ** 2))
    burst = 48 * math.exp(-(hour - 13) / 0.5) if spike and hour >= 13 else 0.0
    return 4 + humps + burst + 1.2 * math.sin(minute / 7) + 0.8 * math.sin(minute / 3.1)


@dataclass(frozen=True)
class Scaler:
    """A target-tracking autoscaler: what it aims at, how late it is, and between which sizes it may move."""

    target: float
    delay: int
    low: int
    high: int
    calm: int = 10

    def wanted(self, load: float) -> int:
        """Return the replicas that bring utilisation to the target, within the bounds."""
        return min(self.high, max(self.low, math.ceil(load / (CAPACITY * self.target) - 1e-9)))


def fleet(scaler: Scaler, loads: list[float]) -> list[int]:
    """Return the ready replicas per minute.

    What is wanted at a minute is ready `delay` minutes later (metric, decision, pull, start). The fleet shrinks only
    to the largest size wanted in the last `calm` minutes, as Kubernetes does with its stabilisation window.
    """
    wanted = [scaler.wanted(load) for load in loads]
    sizes = []
    for minute in range(len(loads)):
        seen = minute - scaler.delay
        sizes.append(max(wanted[max(0, seen - scaler.calm) : seen + 1]) if seen >= 0 else max(scaler.low, wanted[0]))
    return sizes


def dropped(loads: list[float], sizes: list[int]) -> float:
    """Return the requests of the day beyond capacity."""
    return sum(max(0.0, load - size * CAPACITY) * 60 for load, size in zip(loads, sizes, strict=True))


def _day(p: Params) -> View:
    loads = [demand(minute, spike=p["spike"]) for minute in range(DAY_MIN)]
    scaler = Scaler(p["target"], p["delay"], min(p["low"], p["high"]), p["high"])
    sizes = fleet(scaler, loads)
    lost, whole = dropped(loads, sizes), sum(loads) * 60
    fixed = math.ceil(max(loads) / CAPACITY)
    hours, fixed_hours = sum(sizes) / 60, fixed * 24
    say = (
        f"The fleet moves between {min(sizes)} and {max(sizes)} replicas: **{hours:.0f} replica hours** instead of "
        f"{fixed_hours} for a fixed fleet of {fixed} that always suffices ({hours / fixed_hours - 1:+.0%}). "
        f"**{lost:,.0f} requests** ({lost / whole:.1%}) came faster than replicas could start."
    )
    scene = {
        "loads": [round(v, 2) for v in loads[::5]],
        "sizes": sizes[::5],
        "capacity": CAPACITY,
        "hours": hours,
        "fixed": fixed,
        "fixedHours": fixed_hours,
        "lost": lost,
    }
    rows = [
        (f"{m // 60:02d}:00", round(loads[m], 1), sizes[m], f"{min(1.0, loads[m] / sizes[m] / CAPACITY):.0%}")
        for m in range(0, DAY_MIN, 60)
    ]
    return View(scene, say, Table("On the hour", ["time", "requests a second", "replicas", "utilisation"], rows))


def autoscaling(**start: object) -> Figure:
    """Show an autoscaler following a day's demand: cost and requests lost to its delay."""
    controls = (
        stops("target", "Target utilisation", 0.7, tuple(i / 20 for i in range(6, 20)), "%"),
        Slider("delay", "Delay until a replica is ready", 0, 30, 10, unit="min"),
        Slider("low", "Replicas, at least", 1, 8, 1),
        Slider("high", "Replicas, at most", 1, 16, 10),
        Switch("spike", "A newsletter goes out at 13:00", start=True),
    )
    title, question = (
        "A day of autoscaling",
        "Each replica serves 10 requests a second. What does it cost to follow the demand, and what to follow it late?",
    )
    return Figure("autoscale", title, question, controls, _day, start)


def connections(instances: int, workers: int, size: int, overflow: int) -> int:
    """Return how many connections all pools may open at once."""
    return instances * workers * (size + overflow)


def _pools(p: Params) -> View:
    size, overflow = p["size"], p["overflow"]
    open_for_us = p["most"] - p["reserved"]
    processes = p["instances"] * p["workers"]
    needed = connections(p["instances"], p["workers"], size, overflow)
    fair = open_for_us // processes
    say = (
        f"{counted(p['instances'], 'instance')} · {counted(p['workers'], 'worker')} · "
        f"({size} + {overflow}) = **{counted(needed, 'connection')}**; the database has {open_for_us} to give. "
    )
    say += (
        f"**{needed - open_for_us} will be refused** under load: at most {fair} per process fit."
        if needed > open_for_us
        else f"It fits, with {open_for_us - needed} to spare."
    )
    if needed > open_for_us and fair < 1:
        say = say.replace("at most 0 per process fit", "a pooler must stand between")
    scene = {
        "processes": processes,
        "workers": p["workers"],
        "size": size,
        "overflow": overflow,
        "needed": needed,
        "room": open_for_us,
        "most": p["most"],
    }
    rows = [
        (
            n,
            n * p["workers"],
            connections(n, p["workers"], size, overflow),
            "yes" if connections(n, p["workers"], size, overflow) <= open_for_us else "no",
        )
        for n in range(1, 13)
    ]
    return View(
        scene, say, Table("The same pool on more instances", ["instances", "processes", "connections", "fits"], rows)
    )


def pool_arithmetic(**start: object) -> Figure:
    """Show how many connections all pools may open against what the database has."""
    controls = (
        Slider("instances", "Instances", 1, 12, 3),
        Slider("workers", "Workers in each", 1, 8, 4),
        Slider("size", "Pool size", 1, 40, 20),
        Slider("overflow", "Overflow", 0, 40, 40),
        stops("most", "max_connections", 100, (25, 50, 100, 200, 400, 800)),
        Slider("reserved", "Kept for others", 0, 20, 3),
    )
    title, question = (
        "Pool arithmetic",
        "Each process has its own pool. How many connections is that when all are busy?",
    )
    return Figure("pools", title, question, controls, _pools, start)
