"""Section 2: why one blocking call stops everybody, and what streaming changes for a reader.

Times are seconds. The event loop runs one thing at a time; a thread pool runs as many calls as it has threads.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from heapq import heapify, heapreplace

from grader.figures.controls import Choice, Slider, stops
from grader.figures.theme import Figure, Params, Table, View, lasting

CPU = 0.004
"""Seconds of Python that every request costs on the event loop, half before and half after the provider's call."""
STYLES = {"sync": "async def, blocking call", "await": "async def, awaited call", "threads": "def, thread pool"}


@dataclass(frozen=True)
class Span:
    """One request: it arrives at 0, its call begins and ends, its answer leaves."""

    begin: float
    end: float
    done: float


def blocking(requests: int, provider: float, cpu: float = CPU) -> list[Span]:
    """Call the provider without `await` inside `async def`: the loop serves one request after another."""
    whole = cpu + provider
    return [Span(i * whole + cpu / 2, i * whole + cpu / 2 + provider, (i + 1) * whole) for i in range(requests)]


def awaiting(requests: int, provider: float, cpu: float = CPU) -> list[Span]:
    """Await the provider: the loop is free while calls are out; only the Python parts queue."""
    starts = [(i + 1) * cpu / 2 for i in range(requests)]
    free, spans = starts[-1] if starts else 0.0, []
    for begin in starts:
        end = begin + provider
        free = max(free, end) + cpu / 2
        spans.append(Span(begin, end, free))
    return spans


def threading(requests: int, provider: float, threads: int, cpu: float = CPU) -> list[Span]:
    """Run a plain `def` in a pool of threads: as many calls as threads are out at once."""
    free = [0.0] * threads
    heapify(free)
    spans = []
    for i in range(requests):
        begin = max(free[0], (i + 1) * cpu / 2)
        heapreplace(free, begin + provider + cpu / 2)
        spans.append(Span(begin, begin + provider, begin + provider + cpu / 2))
    return spans


def probe(style: str, spans: list[Span], at: float) -> float:
    """Return how long a `/livez` that comes at `at` waits for the loop, seconds.

    A blocked loop serves it after everything that came before it; otherwise it waits for a moment of Python at most.
    """
    last = spans[-1].done if spans else 0.0
    return max(0.0, last - at) if style == "sync" else CPU / 2


def _loop(p: Params) -> View:
    n, provider, threads = p["requests"], p["provider"], p["threads"]
    runs = {"sync": blocking(n, provider), "await": awaiting(n, provider), "threads": threading(n, provider, threads)}
    spans = runs[p["style"]]
    ends = {style: max(span.done for span in run) for style, run in runs.items()}
    wait = probe(p["style"], spans, provider / 2)
    say = (
        f"{n} requests, {provider:g} s each. {STYLES[p['style']]}: all answered "
        f"after **{ends[p['style']]:.2f} s**; a health probe that comes in the middle of the first call waits "
        f"**{lasting(wait)}**."
    )
    if p["style"] == "threads" and n > threads:
        say += (
            f" The {threads} threads are the queue now: request {threads + 1} starts after {spans[threads].begin:.2f} "
            "s."
        )
    scene = {
        "spans": [asdict(span) for span in spans],
        "ends": ends,
        "probe": [provider / 2, wait],
        "style": p["style"],
    }
    rows = [(i + 1, round(s.begin, 3), round(s.end, 3), round(s.done, 3)) for i, s in enumerate(spans)]
    return View(
        scene,
        say,
        Table(
            f"Every request, {STYLES[p['style']]}", ["request", "call begins, s", "call ends, s", "answered, s"], rows
        ),
    )


def event_loop(**start: object) -> Figure:
    """Show a crowd of requests under a blocking call, an awaited call and a thread pool."""
    controls = (
        Choice("style", "The handler is", tuple(STYLES.items()), "sync"),
        stops("provider", "The provider takes", 0.2, (0.05, 0.1, 0.2, 0.5, 1, 2, 5), "s"),
        Slider("requests", "Requests at once", 1, 60, 20),
        Slider("threads", "Threads in the pool", 1, 60, 40),
    )
    title, question = (
        "One loop, many waiters",
        "All requests arrive at once. What does a call without await do to the others, and to the health probe?",
    )
    return Figure("loop", title, question, controls, _loop, start)


def token_times(tokens: int, first: float, rate: float) -> list[float]:
    """Return when the provider sends each token: the first after `first` seconds, then `rate` a second."""
    return [first + i / rate for i in range(tokens)]


def _streaming(p: Params) -> View:
    times = token_times(p["tokens"], p["first"], p["rate"])
    whole = times[-1]
    leaves = p["leave"] * whole
    read = sum(at <= leaves for at in times)
    gone = p["leave"] < 1
    made = read if gone and p["stop"] else len(times)
    say = (
        f"Streamed, the first word is there after **{p['first']:g} s**; sent whole, after **{whole:.1f} s**. The "
        "answer takes equally long."
    )
    if gone:
        say += f" The reader leaves after {leaves:.1f} s with {read} tokens read; the provider is paid for **{made}**."
    scene = {"times": times, "leaves": leaves if gone else None, "made": made, "first": p["first"], "whole": whole}
    rows = [(i + 1, round(at, 2), round(whole, 2), "yes" if i < made else "no") for i, at in enumerate(times)]
    return View(
        scene, say, Table("Every token", ["token", "seen when streamed, s", "seen when sent whole, s", "paid"], rows)
    )


def streaming(**start: object) -> Figure:
    """Show when a reader sees each token, streamed and whole, and who pays when the reader leaves."""
    shares = tuple(i / 20 for i in range(1, 21))
    controls = (
        stops("first", "First token after", 0.5, (0.1, 0.2, 0.5, 1, 2), "s"),
        Slider("rate", "Speed", 5, 100, 20, 5, "tokens/s"),
        Slider("tokens", "Answer", 10, 200, 100, 10, "tokens"),
        stops("leave", "The reader leaves at", 1.0, shares, "%"),
        Choice(
            "stop",
            "When the reader leaves, the service",
            (("yes", "stops the provider's call"), ("", "does not notice")),
            "yes",
        ),
    )
    title, question = (
        "Time to the first token",
        "The same answer, streamed and whole: when can somebody begin to read, and what is paid for nobody?",
    )
    return Figure("streaming", title, question, controls, _streaming, start)
