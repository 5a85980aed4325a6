"""Section 4: what fixed windows, sliding windows and token buckets let through, and what a bucket costs.

Times are seconds from the start of the picture. All limiters answer in the order of arrival.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from grader.figures.controls import Choice, Moments, Slider, Switch
from grader.figures.theme import Figure, Params, Table, View, counted

WINDOWS = 3
KINDS = {"fixed": "fixed window", "sliding": "sliding window", "bucket": "token bucket"}


def fixed_window(arrivals: Sequence[float], limit: int, window: float) -> list[bool]:
    """Count per window of the clock: the counter falls back to zero at every multiple of `window`."""
    counts: dict[int, int] = {}
    passed = []
    for at in arrivals:
        slot = int(at // window)
        counts[slot] = counts.get(slot, 0) + 1
        passed.append(counts[slot] <= limit)
    return passed


def sliding_window(arrivals: Sequence[float], limit: int, window: float) -> list[bool]:
    """Remember the moments that passed (a log); at most `limit` of them in the last `window` seconds."""
    kept: deque[float] = deque()
    passed = []
    for at in arrivals:
        while kept and kept[0] <= at - window:
            kept.popleft()
        passed.append(len(kept) < limit)
        if passed[-1]:
            kept.append(at)
    return passed


def token_bucket(arrivals: Sequence[float], capacity: float, rate: float) -> tuple[list[bool], list[float]]:
    """Take one token per request from a bucket of `capacity`, refilled at `rate` tokens a second, full at first.

    Returns who passed and the level right after each request. The generic cell rate algorithm (GCRA, ITU-T I.371)
    decides the same with one stored time instead of a level and a time.
    """
    level, last = float(capacity), 0.0
    passed, levels = [], []
    for at in arrivals:
        level, last = min(capacity, level + (at - last) * rate), at
        passed.append(level >= 1 - 1e-9)
        level -= passed[-1]
        levels.append(max(0.0, level))
    return passed, levels


def gcra(arrivals: Sequence[float], limit: int, window: float) -> list[bool]:
    """Decide as the token bucket of `limit` tokens does, from one stored time (the theoretical arrival time)."""
    step, due = window / limit, 0.0
    passed = []
    for at in arrivals:
        due = max(due, at)
        passed.append(due - at <= window - step + 1e-9)
        due += step if passed[-1] else 0
    return passed


def busiest(times: Sequence[float], window: float) -> tuple[int, float]:
    """Return the most moments in any half-open stretch of `window` seconds, and where that stretch begins."""
    best, begin, first = 0, 0.0, 0
    for last, at in enumerate(times):
        while times[first] <= at - window + 1e-9:
            first += 1
        if last - first + 1 > best:
            best, begin = last - first + 1, times[first]
    return best, begin


def pattern(name: str, limit: int, window: float, clicks: Sequence[float]) -> list[float]:
    """Return the arrival times of one of the ready-made crowds, or the reader's own clicks."""
    end, gap = WINDOWS * window, min(window / 25, window / (2.1 * limit))
    if name == "edge":
        return [window - gap * (limit - i) for i in range(limit)] + [window + gap * (i + 1) for i in range(limit)]
    if name == "steady":
        return [end * (i + 0.5) / (WINDOWS * limit) for i in range(WINDOWS * limit)]
    if name == "burst":
        return [window / 2 + window / (4 * limit) * i for i in range(3 * limit)]
    if name == "random":
        draw = random.Random(4)
        return sorted(draw.uniform(0, end) for _ in range(2 * WINDOWS * limit))
    return sorted(at for at in clicks if at < end)


def judge(arrivals: Sequence[float], limit: int, window: float) -> dict[str, list[bool]]:
    """Ask all three limiters about the same arrivals."""
    return {
        "fixed": fixed_window(arrivals, limit, window),
        "sliding": sliding_window(arrivals, limit, window),
        "bucket": token_bucket(arrivals, limit, limit / window)[0],
    }


def _limiters(p: Params) -> View:
    limit, window = p["limit"], p["window"]
    arrivals = pattern(p["pattern"], limit, window, p["clicks"])
    verdicts = judge(arrivals, limit, window)
    worst = {
        kind: busiest([t for t, ok in zip(arrivals, oks, strict=True) if ok], window) for kind, oks in verdicts.items()
    }
    scene = {
        "arrivals": arrivals,
        "passed": verdicts,
        "end": WINDOWS * window,
        "limit": limit,
        "window": window,
        "levels": token_bucket(arrivals, limit, limit / window)[1],
        "worst": {kind: {"count": n, "begin": begin} for kind, (n, begin) in worst.items()},
    }
    if not arrivals:
        say = "No request yet: click in the top lane, or put the cursor there and press Enter, to send one."
    else:
        most = ", ".join(f"{KINDS[kind]} **{worst[kind][0]}**" for kind in KINDS)
        crowd = f"{counted(len(arrivals), 'request')}, limit {limit} in {window} s."
        say = f"{crowd} Most let through in any {window} s: {most}."
        if worst["fixed"][0] > limit:
            say += f" The fixed window broke its own promise by {worst['fixed'][0] - limit} requests at the edge."
        if worst["bucket"][0] > limit:
            say += " The bucket lets a burst through and then refills while the window is still open."
    rows = [
        (i + 1, round(at, 2), *("passes" if verdicts[kind][i] else "429" for kind in KINDS))
        for i, at in enumerate(arrivals)
    ]
    return View(scene, say, Table("Each request and the three verdicts", ["request", "at, s", *KINDS.values()], rows))


def limiters(**start: object) -> Figure:
    """Show one crowd of requests judged by a fixed window, a sliding window and a token bucket."""
    patterns = (
        ("edge", "at the edge"),
        ("steady", "steady"),
        ("burst", "one burst"),
        ("random", "random"),
        ("own", "my own clicks"),
    )
    controls = (
        Slider("limit", "Limit R", 1, 20, 5, unit="requests"),
        Slider("window", "Window W", 5, 60, 10, 5, "s"),
        Choice("pattern", "Requests arrive", patterns, "edge"),
        Moments("clicks", WINDOWS * 60),
    )
    title, question = (
        "Three limiters, one crowd",
        "Each promises R requests in W seconds. Who keeps the promise at the edge of a window?",
    )
    return Figure("limiters", title, question, controls, _limiters, start)


def spend(
    costs: Sequence[tuple[float, float]], capacity: float, rate: float, *, checked: bool
) -> list[tuple[float, float, float, bool]]:
    """Spend several tokens at a time: returns (time, level before, level after, passed) per (time, cost).

    Unchecked, a bucket that only asks `level >= cost` lets every cost of zero or less pass, and *gains* by it.
    """
    level, last, steps = float(capacity), 0.0, []
    for at, cost in costs:
        before, last = min(capacity, level + (at - last) * rate), at
        ok = before >= cost and (1 <= cost <= capacity or not checked)
        level = before - cost if ok else before
        steps.append((at, before, level, ok))
    return steps


def _bucket(p: Params) -> View:
    capacity, cost, end = p["capacity"], p["cost"], 30
    honest = [(float(at), cost) for at in range(1, end)]
    costs = [(at, -capacity) if p["attack"] and int(at) % 6 == 0 else (at, n) for at, n in honest]
    steps = spend(costs, capacity, p["refill"], checked=p["checked"])
    passed = [n for (_, n), step in zip(costs, steps, strict=True) if step[3] and n > 0]
    earned = capacity + end * p["refill"]
    spent = sum(passed)
    say = (
        f"{len(passed)} of {sum(n > 0 for _, n in costs)} requests passed and spent **{spent} tokens**; a bucket of "
        f"{capacity} that earns {p['refill']} a second may spend {earned} in {end} s."
    )
    if p["attack"]:
        say += (
            " Asking for a negative number is refused with 422."
            if p["checked"]
            else f" Each request for **-{capacity} tokens** passes and fills the bucket: validate before you count."
        )
    scene = {"steps": steps, "costs": [n for _, n in costs], "capacity": capacity, "refill": p["refill"], "end": end}
    rows = [
        (at, n, round(before, 2), round(after, 2), "passes" if ok else "refused")
        for (at, n), (_, before, after, ok) in zip(costs, steps, strict=True)
    ]
    return View(
        scene,
        say,
        Table(
            "Each request and the level of the bucket",
            ["at, s", "tokens asked", "level before", "after", "verdict"],
            rows,
        ),
    )


def bucket(**start: object) -> Figure:
    """Show the level of one token bucket while requests of a given cost arrive once a second."""
    controls = (
        Slider("capacity", "Capacity", 5, 100, 40, 5, "tokens"),
        Slider("refill", "Refill", 1, 20, 4, unit="tokens/s"),
        Slider("cost", "Cost of a request", 1, 20, 8, unit="tokens"),
        Switch("attack", "Every sixth request asks for a negative number", start=False),
        Switch("checked", "The number is validated first (1 … capacity)", start=True),
    )
    title, question = (
        "A bucket that pays by weight",
        "Dear requests take more tokens. What if someone asks for a negative number of them?",
    )
    return Figure("bucket", title, question, controls, _bucket, start)
