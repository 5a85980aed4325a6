"""Exercises of notebook 06, logging and monitoring."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from grader.figures.latency import LAYOUTS, cumulative, histogram_quantile, sample
from grader.notebook.judge import demand, exercise_check

LogLine = Callable[..., str]
HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")
NEAR = timedelta(minutes=5)


@exercise_check("06-line")
def line(log_line: LogLine, draw: random.Random) -> None:
    """`log_line(event, error=None, **fields)`: one event as one line of JSON."""
    for kind in (None, ValueError, ConnectionError):
        secret, event = _word(draw, 18), f"chat {_word(draw)}\nforged {_word(draw)}"
        fields = {"status": draw.choice((200, 503)), "path": f"/{_word(draw)}\r\n", "request_id": _word(draw)}
        error = kind(f"cannot reach postgresql://user:{secret}@db") if kind else None
        said = log_line(event, error, **fields) if error else log_line(event, **fields)
        _judge_line(said, event, fields, "error" if error else "info")
        if kind:
            demand(kind.__name__ in said, f"the error was a {kind.__name__}, and the line does not say so: {said}")
        demand(secret not in said, f"the error's message stands in the line, with a password in it: {said}")


def _judge_line(said: object, event: str, fields: dict[str, Any], level: str) -> None:
    demand(isinstance(said, str), f"log_line has to return text, not {said!r}")
    text = str(said).removesuffix("\n")
    demand(len(text.splitlines()) == 1, f"a line break in a value made more than one line: {text!r}")
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    demand(isinstance(record, dict), f"the line is no JSON object: {text!r}")
    demand(record.get("event") == event, f"the field event has to be {event!r}, not {record.get('event')!r}")
    demand(str(record.get("level")).lower() == level, f"the level has to be {level}, not {record.get('level')!r}")
    for name, value in fields.items():
        demand(record.get(name) == value, f"the field {name} has to be {value!r}, not {record.get(name)!r}")
    _judge_time(record.get("timestamp"))


def _judge_time(told: object) -> None:
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        demand(holds=False, otherwise=f"timestamp has to be ISO 8601, as isoformat() gives it, not {told!r}")
        return
    demand(at.utcoffset() == timedelta(0), f"the timestamp {told} does not say that it is UTC (+00:00 or Z)")
    demand(abs(at - datetime.now(UTC)) < NEAR, f"the timestamp {told} is not now")


@exercise_check("06-id")
def request_id(accepted_or_new: Callable[[str | None], str], draw: random.Random) -> None:
    """`accepted_or_new(given)`: what is harmless is taken over, else there is a new id."""
    good = [_word(draw), "x", "a" * 64, f"{_word(draw)}-{_word(draw)}_{_word(draw)}.7", "Z" + "0" * 63]
    for given in good:
        said = accepted_or_new(given)
        demand(said == given, f"{given!r} is harmless and has to be taken over; it became {said!r}")
    bad = ["", "a" * 65, f"{_word(draw)}\n", f"\n{_word(draw)}", "two words", 'quo"te', "<b>", "é", "a;b", "{}", "١٢"]
    made = set()
    for odd in (None, *bad):
        said = accepted_or_new(odd)
        right = isinstance(said, str) and HARMLESS.fullmatch(said)
        demand(right, f"{odd!r} is not harmless; a new id of [A-Za-z0-9._-] is needed, not {said!r}")
        made.add(said)
    demand(len(made) == len(bad) + 1, "two requests were given the same new id")


@exercise_check("06-quantile")
def quantile(guess: Callable[[float, list[float], list[int]], float], draw: random.Random) -> None:
    """`quantile(q, bounds, counts)`: as Prometheus's histogram_quantile, with cumulative counts."""
    for _ in range(60):
        bounds = draw.choice([*LAYOUTS.values(), (1.0,), (0.5, 2.0)])
        values = sample(draw.choice((0.2, 1.0, 3.0)), draw.choice((0.0, 0.05, 0.2)), draw.choice((2.0, 8.0, 20.0)))
        counts = cumulative(draw.sample(values, draw.randint(5, 400)), bounds)
        _judge_quantile(guess, draw.choice((0.5, 0.9, 0.95, 0.99)), bounds, counts)
    _judge_quantile(guess, 0.5, (1.0, 2.0), [0, 10, 10])
    _judge_quantile(guess, 0.99, (1.0, 2.0), [1, 2, 100])


def _judge_quantile(
    guess: Callable[[float, list[float], list[int]], float], q: float, bounds: Sequence[float], counts: list[int]
) -> None:
    right = histogram_quantile(q, bounds, counts)
    said = guess(q, list(bounds), list(counts))
    asked = f"quantile({q}, {list(bounds)}, {counts})"
    demand(isinstance(said, int | float), f"{asked} has to be a number, not {said!r}")
    demand(abs(said - right) < 1e-6, f"{asked} has to be {right:.4g}, not {said:.4g}")


def _word(draw: random.Random, size: int = 8) -> str:
    return "".join(draw.choices(string.ascii_lowercase, k=size))
