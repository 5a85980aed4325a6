"""Exercises of notebook 09, scaling."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from grader.notebook.judge import demand, exercise_check

Replicas = Callable[[float, float, int, float], int]
Known = dict[Any, Any]
Accept = Callable[[Known, str, str | None, str, str], tuple[int, str | None]]
Fits = Callable[[int, int, int, int, int], int]


@exercise_check("09-replicas")
def replicas(needed: Replicas, draw: random.Random) -> None:
    """`replicas(rate, seconds, slots, target)`: the fewest whose slots are busy to the target at most."""
    for _ in range(60):
        rate, seconds = draw.choice((0.01, 0.5, 2.0, 5.0, 40.0, 300.0)), draw.choice((0.1, 0.5, 2.0, 8.0, 30.0))
        slots, target = draw.choice((1, 4, 10, 40)), draw.choice((0.5, 0.6, 0.7, 0.8))
        said = needed(rate, seconds, slots, target)
        asked = f"replicas({rate:g}, {seconds:g}, {slots}, {target:g})"
        demand(isinstance(said, int) and not isinstance(said, bool), f"{asked} has to be a whole number, not {said!r}")
        demand(said >= 1, f"{asked} is {said}: somebody has to be there")
        inside, room = rate * seconds, slots * target
        busy = inside / (said * slots)
        demand(
            busy <= target + 1e-9, f"{asked} is {said}: then {busy:.0%} of the slots are busy; {inside:g} are inside"
        )
        spare = said > 1 and inside <= (said - 1) * room * (1 - 1e-9)
        demand(not spare, f"{asked} is {said}: one replica fewer suffices for the {inside:g} inside")


@exercise_check("09-accept")
def accept(accepted: Accept, draw: random.Random) -> None:
    """`accept(known, caller, key, body, new_id)`: a repetition is the same task, another body is refused."""
    for _ in range(6):
        known: Known = {}
        right: dict[tuple[str, str], tuple[str, str]] = {}
        for number in range(40):
            caller, body = draw.choice(("ada", "bob")), draw.choice(("x", "y"))
            key = draw.choice((None, "k1", "k2", "k3"))
            _follow(accepted, known, right, (caller, key, body, f"task-{number}"))


def _follow(
    accepted: Accept,
    known: Known,
    right: dict[tuple[str, str], tuple[str, str]],
    told: tuple[str, str | None, str, str],
) -> None:
    caller, key, body, new = told
    expected: tuple[int, str | None] = (202, new)
    if key is not None:
        first_body, first = right.setdefault((caller, key), (body, new))
        expected = (202, first) if first_body == body else (422, None)
    said = accepted(known, caller, key, body, new)
    asked = f"accept(known, {caller!r}, {key!r}, {body!r}, {new!r})"
    history = ", ".join(f"{who} used {which} for {what[0]!r} ({what[1]})" for (who, which), what in right.items())
    demand(
        tuple(said) == expected,
        f"{asked} is {expected}, not {said!r}; so far: {history or 'no key was used'}",
    )


@exercise_check("09-pool")
def pool(fits: Fits, draw: random.Random) -> None:
    """`fits(most, reserved, instances, workers, surge)`: connections that each process may have, also in a deploy."""
    for _ in range(60):
        most, reserved = draw.choice((25, 100, 200, 400)), draw.randint(0, 20)
        instances, workers, surge = draw.randint(1, 12), draw.randint(1, 8), draw.randint(0, 3)
        said = fits(most, reserved, instances, workers, surge)
        asked = f"fits({most}, {reserved}, {instances}, {workers}, {surge})"
        demand(isinstance(said, int) and not isinstance(said, bool), f"{asked} has to be a whole number, not {said!r}")
        processes, free = (instances + surge) * workers, most - reserved
        demand(said >= 0, f"{asked} is {said}; less than none cannot be")
        wanted = f"{asked} is {said}: during a deploy {processes} processes open {said * processes}; there are {free}"
        demand(said * processes <= free, wanted)
        demand(
            (said + 1) * processes > free,
            f"{asked} is {said}: one more in each of {processes} processes fits in {free}",
        )
