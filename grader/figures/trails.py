"""Section 6: one request's lines among everybody's, with and without a request id.

The log is made up, but deterministic: four requests overlap on three replicas and a worker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from grader.figures.controls import Choice, Switch
from grader.figures.theme import Figure, Params, Table, View


@dataclass(frozen=True)
class Line:
    """One log record: milliseconds since the first one, which process wrote it, and for which request."""

    at: int
    source: str
    request: str
    event: str
    extra: tuple[tuple[str, object], ...] = ()


IDS = {"ada": "r-7f3a", "bob": "r-c41e", "cyd": "r-09bd", "dan": "r-e852"}
STORY = (
    Line(0, "balancer", "ada", "forwarded", (("upstream", "api 2"),)),
    Line(3, "api 2", "ada", "authenticated", (("caller", "acme"),)),
    Line(5, "balancer", "bob", "forwarded", (("upstream", "api 3"),)),
    Line(6, "api 2", "ada", "cache miss"),
    Line(8, "api 3", "bob", "authenticated", (("caller", "blue"),)),
    Line(11, "api 3", "bob", "cache hit"),
    Line(12, "api 3", "bob", "request", (("status", 200), ("duration_ms", 4))),
    Line(40, "balancer", "cyd", "forwarded", (("upstream", "api 2"),)),
    Line(43, "api 2", "cyd", "authenticated", (("caller", "acme"),)),
    Line(46, "api 2", "cyd", "task queued", (("task", "t-51"),)),
    Line(47, "api 2", "cyd", "request", (("status", 202), ("duration_ms", 4))),
    Line(60, "worker", "cyd", "task taken", (("task", "t-51"),)),
    Line(120, "balancer", "dan", "forwarded", (("upstream", "api 1"),)),
    Line(124, "api 1", "dan", "authenticated", (("caller", "acme"),)),
    Line(126, "api 1", "dan", "rate limited", (("retry_after_s", 12),)),
    Line(127, "api 1", "dan", "request", (("status", 429), ("duration_ms", 4))),
    Line(900, "worker", "cyd", "provider answered", (("model", "lab-large"), ("tokens", 212))),
    Line(903, "worker", "cyd", "task complete", (("task", "t-51"),)),
    Line(2006, "api 2", "ada", "provider timed out", (("model", "lab-large"), ("waited_ms", 2000))),
    Line(2010, "api 2", "ada", "fallback model asked", (("model", "lab-small"),)),
    Line(2390, "api 2", "ada", "provider answered", (("model", "lab-small"), ("tokens", 148))),
    Line(2394, "api 2", "ada", "request", (("status", 200), ("duration_ms", 2391), ("degraded", True))),
)


def written(line: Line, *, ids: bool) -> str:
    """Return the record as one line of JSON, with or without its request id."""
    stamp = f"2026-03-02T14:05:{line.at // 1000:02d}.{line.at % 1000:03d}Z"
    name: dict[str, Any] = {"request_id": IDS[line.request]} if ids else {}
    return json.dumps({"timestamp": stamp, **name, "source": line.source, "event": line.event, **dict(line.extra)})


def suspects(request: str) -> list[Line]:
    """Return what could belong to a request if lines bear no id: everything its processes wrote meanwhile."""
    mine = [line for line in STORY if line.request == request]
    places, begin, end = {line.source for line in mine}, mine[0].at, mine[-1].at
    return [line for line in STORY if line.source in places and begin <= line.at <= end]


def longest_gap(request: str) -> tuple[Line, Line]:
    """Return the two neighbouring lines of a request with the most time between them."""
    mine = [line for line in STORY if line.request == request]
    return max(pairwise(mine), key=lambda pair: pair[1].at - pair[0].at)


def _trail(p: Params) -> View:
    who, ids = p["request"], p["ids"]
    mine = [line for line in STORY if line.request == who]
    chosen = mine if ids else suspects(who)
    before, after = longest_gap(who)
    if ids:
        say = (
            f"{len(mine)} of {len(STORY)} lines bear **{IDS[who]}**. Most of its {mine[-1].at - mine[0].at:,} ms, "
            f"{after.at - before.at:,} ms, lie between “{before.event}” and “{after.event}”."
        )
    else:
        say = (
            f"Without an id **{len(chosen)} lines** may belong to this request; {len(mine)} do. Nothing in them says "
            "which."
        )
    scene = {
        "lines": [
            {
                "at": line.at,
                "source": line.source,
                "who": line.request,
                "event": line.event,
                "text": written(line, ids=ids),
                "on": line in chosen,
            }
            for line in STORY
        ],
        "sources": list(dict.fromkeys(line.source for line in STORY)),
        "id": IDS[who],
        "ids": ids,
        "gap": [before.at, after.at] if ids else None,
        "who": who,
    }
    rows = [
        (line.at, line.source, IDS[line.request] if ids else "", line.event, "yes" if line in chosen else "")
        for line in STORY
    ]
    return View(scene, say, Table("All lines", ["ms", "source", "request", "event", "chosen"], rows))


def log_trail(**start: object) -> Figure:
    """Follow one request id across balancer, replicas and worker; then try without ids."""
    controls = (
        Choice("request", "Follow the request of", tuple((who, f"{who} {IDS[who]}") for who in IDS), "ada"),
        Switch("ids", "Every line bears its request id", start=True),
    )
    title, question = (
        "One request among many",
        "Four requests, five processes, one log. Which lines tell the story of one of them?",
    )
    return Figure("trail", title, question, controls, _trail, start)
