"""Section 5: what a cache saves, what it costs in freshness, and why equal questions should share one call.

Prices are dollars, times seconds. Requests are a Poisson stream, questions follow Zipf's law.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate

from grader.figures.controls import Slider, Switch, stops
from grader.figures.theme import Figure, Params, Table, View

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
MONTH = 30 * DAY
TTLS = (1.0, 10.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY)


@lru_cache(maxsize=32)
def popularity(questions: int, skew: float) -> tuple[float, ...]:
    """Return the share of each question: proportional to 1 / rank ** skew (Zipf); 0 means all alike."""
    weights = [1 / rank**skew for rank in range(1, questions + 1)]
    whole = sum(weights)
    return tuple(weight / whole for weight in weights)


def hit_rate(shares: Sequence[float], per_second: float, ttl: float) -> float:
    """Return the long-run share of hits when entries live for `ttl` from their storing and are not renewed.

    A question asked at rate r is missed once and then, on average, hit r·ttl times: r·ttl / (1 + r·ttl) of it are hits.
    """
    return sum(share * (x := share * per_second * ttl) / (1 + x) for share in shares)


def day_of_hits(shares: Sequence[float], per_second: float, ttl: float, seed: int = 5) -> tuple[int, int]:
    """Play one day from an empty cache: (hits, requests). At most 20,000 requests are played."""
    draw = random.Random(seed)
    count = min(20_000, round(per_second * DAY))
    bounds = list(accumulate(shares))
    asked = draw.choices(range(len(shares)), cum_weights=bounds, k=count)
    stored: dict[int, float] = {}
    now, hits = 0.0, 0
    for question in asked:
        now += draw.expovariate(per_second)
        if now - stored.get(question, -ttl) < ttl:
            hits += 1
        else:
            stored[question] = now
    return hits, count


def _span(seconds: float) -> str:
    for size, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"


def _bill(p: Params) -> View:
    shares, rate = popularity(int(p["questions"]), p["skew"]), p["per_hour"] / HOUR
    curve = [(ttl, hit_rate(shares, rate, ttl)) for ttl in TTLS]
    chosen = hit_rate(shares, rate, p["ttl"])
    hits, played = day_of_hits(shares, rate, p["ttl"])
    without = rate * MONTH * p["price"] / 1000
    pays = without * (1 - chosen)
    scene = {
        "curve": curve,
        "ttl": p["ttl"],
        "rate": chosen,
        "played": hits / played if played else 0.0,
        "without": without,
        "with": pays,
    }
    say = (
        f"With entries that live {_span(p['ttl'])}, **{chosen:.0%}** of the requests are hits: **${pays:,.0f}** a "
        f"month instead of ${without:,.0f}. The price is freshness: an answer may be {_span(p['ttl'])} old."
    )
    say += f" One simulated day from an empty cache had {hits / played:.0%}." if played else ""
    rows = [(_span(ttl), f"{h:.1%}", f"${without * (1 - h):,.0f}") for ttl, h in curve]
    return View(scene, say, Table("Hit rate and bill by lifetime", ["entries live", "hits", "bill a month"], rows))


def cache_bill(**start: object) -> Figure:
    """Show hit rate and monthly bill against the lifetime of cache entries."""
    controls = (
        stops("ttl", "Entries live (TTL)", HOUR, TTLS, "s"),
        stops("price", "Price of 1,000 calls", 2.0, (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50), "$"),
        stops("per_hour", "Requests an hour", 500, (10, 50, 100, 500, 1000, 5000, 20_000)),
        stops("questions", "Different questions", 1000, (10, 100, 1000, 5000)),
        Slider("skew", "Favourites (Zipf exponent)", 0, 1.6, 1.0, 0.2),
    )
    title, question = "Hit rate and bill", "What does a longer lifetime save, and what does it cost?"
    return Figure("cachebill", title, question, controls, _bill, start)


@dataclass(frozen=True)
class Asker:
    """One of many who ask the same: when, until when, and whether it called, waited for a leader or hit the cache."""

    at: float
    done: float
    did: str


def stampede_of(arrivals: Sequence[float], provider: float, *, shared: bool) -> list[Asker]:
    """Let everybody ask the same question of an empty cache, with or without single flight."""
    ready = None
    askers = []
    for at in arrivals:
        if ready is not None and at >= ready:
            askers.append(Asker(at, at, "hit"))
        elif shared and ready is not None:
            askers.append(Asker(at, ready, "waits"))
        else:
            ready = at + provider if ready is None else min(ready, at + provider)
            askers.append(Asker(at, at + provider, "calls"))
    return askers


def _stampede(p: Params) -> View:
    draw = random.Random(11)
    arrivals = sorted(draw.uniform(0, p["spread"]) for _ in range(int(p["clients"])))
    runs = {
        name: stampede_of(arrivals, p["provider"], shared=shared)
        for name, shared in (("plain", False), ("shared", True))
    }
    calls = {name: sum(asker.did == "calls" for asker in run) for name, run in runs.items()}
    mine = "shared" if p["single"] else "plain"
    say = (
        f"{len(arrivals)} clients ask the same within {p['spread']:g} s, the provider takes {p['provider']:g} s. "
        f"Without single flight **{calls['plain']} calls** are paid, with it **{calls['shared']}**; nobody waits "
        "longer."
    )
    scene = {
        "askers": [asdict(asker) for asker in runs[mine]],
        "calls": calls,
        "mine": mine,
        "end": p["spread"] + p["provider"],
    }
    rows = [(i + 1, round(a.at, 2), a.did, round(a.done, 2)) for i, a in enumerate(runs[mine])]
    return View(scene, say, Table("Every client", ["client", "asks at, s", "what happens", "answered at, s"], rows))


def stampede(**start: object) -> Figure:
    """Show many clients asking the same question just after its entry ran out."""
    controls = (
        Slider("clients", "Clients", 2, 40, 20),
        stops("provider", "The provider takes", 2, (0.5, 1, 2, 3, 5), "s"),
        stops("spread", "All arrive within", 3, (0.5, 1, 2, 3, 5, 8), "s"),
        Switch("single", "Single flight: later ones wait for the first", start=False),
    )
    title, question = "The stampede", "A popular entry has just run out. Who pays for the new one?"
    return Figure("stampede", title, question, controls, _stampede, start)
