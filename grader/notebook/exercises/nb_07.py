"""Exercises of notebook 07, when things fail."""

from __future__ import annotations

import random
import statistics
import string
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from grader.notebook.judge import demand, exercise_check

Problem = Callable[..., dict[str, Any]]
Pause = Callable[..., float | None]
MayCall = Callable[[Any, float], bool]

LIMIT, COOLDOWN = 5, 10.0
"""As the notebook gives them."""


@exercise_check("07-problem")
def problem(make: Problem, draw: random.Random) -> None:
    """`problem(status, request_id, error=None)`: the body of an RFC 9457 problem, with nothing of the inside."""
    for status in (400, 404, 405, 413, 422, 429, 500, 502, 503):
        name, secret = _word(draw), _word(draw)
        error = draw.choice((None, ConnectionError(f"postgresql://app:{secret}@db/prod"), KeyError(secret)))
        said = make(status, name, error) if error else make(status, name)
        asked = f"problem({status}, {name!r}, {error!r})"
        demand(isinstance(said, dict), f"{asked} has to be a dictionary, not {said!r}")
        right = {"title": HTTPStatus(status).phrase, "status": status, "request_id": name}
        for field, value in right.items():
            demand(said.get(field) == value, f"{asked}: {field} has to be {value!r}, not {said.get(field)!r}")
        demand(
            isinstance(said.get("type"), str) and said["type"], f"{asked}: type has to be a URI, such as about:blank"
        )
        demand(secret not in str(said), f"{asked} shows {secret!r}, which stood in the error: {said}")


@exercise_check("07-pause")
def pause(wait: Pause, draw: random.Random) -> None:
    """`pause(attempt, left, told=0.0)`: a random wait, bounded from three sides."""
    random.seed(draw.random())  # the learner's own source of chance
    for attempt in range(8):
        _judge_spread([wait(attempt, 1000.0) for _ in range(400)], attempt)
    for _ in range(50):
        attempt, told = draw.randint(0, 6), round(draw.uniform(3, 20), 1)
        said = wait(attempt, 100.0, told)
        asked = f"pause({attempt}, 100.0, {told})"
        demand(said is not None and said >= told, f"{asked} is {said}, less than the provider asked for")
        demand(said is not None and said <= told + 2, f"{asked} is {said}, more than 2 s above what was asked for")
        short = round(told * draw.uniform(0.1, 0.9), 2)
        said = wait(attempt, short, told)
        asked = f"pause({attempt}, {short}, {told})"
        demand(said is None, f"{asked} is {said}; that wait ends after the deadline, so None")
    demand(wait(0, 0.0) is None, "pause(0, 0.0) has to be None: no time is left")


def _judge_spread(waits: list[float | None], attempt: int) -> None:
    most = min(2.0, 0.1 * 2**attempt)
    asked = f"pause({attempt}, 1000.0)"
    numbers = [each for each in waits if each is not None]
    demand(len(numbers) == len(waits), f"{asked} was None, with 1000 s left")
    demand(
        min(numbers) >= 0 and max(numbers) <= most + 1e-9,
        f"{asked} gave {max(numbers):.3f} s; at most {most:g} s are asked for",
    )
    even = abs(statistics.fmean(numbers) - most / 2) < most / 6 and max(numbers) - min(numbers) > most * 0.8
    demand(
        even,
        f"{asked} is not spread from 0 to {most:g} s: 400 of them lie between {min(numbers):.3f} and "
        f"{max(numbers):.3f} s, so clients that failed together come back together",
    )


@dataclass
class _Breaker:
    """The notebook's breaker."""

    failures: int = 0
    open_until: float = 0.0
    probing: bool = False

    def note(self, *, ok: bool, now: float) -> None:
        self.failures = 0 if ok else self.failures + 1
        self.open_until, self.probing = now + COOLDOWN, False


@exercise_check("07-breaker")
def breaker(may_call: MayCall, draw: random.Random) -> None:
    """`may_call(breaker, now)`: closed, open, or one probe at a time."""
    one, now = _Breaker(), draw.uniform(0, 1000)
    for number in range(LIMIT):
        demand(_said(may_call, one, now), f"after {number} failures in a row a call may go out, and was refused")
        one.note(ok=False, now=now)
    opened = now
    for later in (0.0, COOLDOWN / 2, COOLDOWN - 0.01):
        refused = not _said(may_call, one, opened + later)
        demand(
            refused, f"{LIMIT} failures in a row, {later:g} s later: it is open for {COOLDOWN:g} s, and a call went out"
        )
    for ok in (False, True):
        opened = one.open_until - COOLDOWN
        now = opened + COOLDOWN + draw.uniform(0.01, 3)
        answers = [_said(may_call, one, now + n / 100) for n in range(20)]
        demand(answers[0], "the cool-down is over: one call has to go out, and it was refused")
        demand(
            answers.count(True) == 1,
            f"the cool-down is over, twenty came: {answers.count(True)} calls went out "
            "before the first had ended, and one may",
        )
        one.note(ok=ok, now=now + 1)
        state = "went well: all may call again" if ok else "failed: it is open again"
        demand(_said(may_call, one, now + 1.5) == ok, f"the probe {state}, and may_call says otherwise")
    for _ in range(LIMIT - 1):
        one.note(ok=False, now=now)
    one.note(ok=True, now=now)
    one.note(ok=False, now=now)
    demand(_said(may_call, one, now), "failures that are not in a row must not open it")


def _said(may_call: MayCall, one: _Breaker, now: float) -> bool:
    said = may_call(one, now)
    demand(isinstance(said, bool), f"may_call returned {said!r}; it has to return True or False")
    return said


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(string.ascii_lowercase, k=12))
