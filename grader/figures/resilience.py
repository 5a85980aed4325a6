"""Section 7: a circuit breaker through an outage, and how retries multiply from layer to layer.

Times are seconds. The breaker counts failures in a row and lets exactly one probe through after its cool-down.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from heapq import heappop, heappush

from grader.figures.controls import Slider, Switch, stops
from grader.figures.theme import Figure, Params, Table, View

END, TROUBLE = 120.0, 20.0
OKAY_S = 0.8
"""A healthy call takes this long; a failing one takes the whole timeout."""


@dataclass
class Breaker:
    """Closed until `threshold` failures in a row, open for `cooldown`, half open while one probe is out."""

    threshold: int
    cooldown: float
    failures: int = 0
    opened: float | None = None
    probing: bool = False
    states: list[tuple[float, str]] = field(default_factory=lambda: [(0.0, "closed")])

    def allow(self, now: float) -> bool:
        """Say whether a call may go out now; the first one after the cool-down is the probe."""
        if self.opened is None:
            return True
        if self.probing or now < self.opened + self.cooldown - 1e-9:
            return False
        self.probing = True
        self._turn(now, "half open")
        return True

    def record(self, now: float, *, ok: bool, sent: float) -> None:
        """Take note of a call's end. Calls sent before the breaker opened do not close it."""
        if self.opened is not None and sent < self.opened:
            return
        if ok:
            self.failures, self.opened, self.probing = 0, None, False
            self._turn(now, "closed")
            return
        self.failures += 1
        if self.probing or (self.opened is None and self.failures >= self.threshold):
            self.opened, self.probing = now, False
            self._turn(now, "open")

    def _turn(self, now: float, state: str) -> None:
        if self.states[-1][1] != state:
            self.states.append((now, state))


@dataclass(frozen=True)
class Call:
    """One request: when it came, when it was answered, and `ok`, `failed` or `spared` (refused at once)."""

    at: float
    done: float
    end: str
    probe: bool = False


def through_outage(
    breaker: Breaker, *, gap: float, outage: float, failing: float, timeout: float, seed: int = 3
) -> list[Call]:
    """Send a request every `gap` seconds; from TROUBLE on, for `outage` seconds, a share of the calls fails."""
    draw = random.Random(seed)
    luck = [draw.random() for _ in range(int(END / gap))]
    flying: list[tuple[float, int, float, bool]] = []
    calls = []
    for i, chance in enumerate(luck):
        now = i * gap
        while flying and flying[0][0] <= now:
            done, _, sent, ok = heappop(flying)
            breaker.record(done, ok=ok, sent=sent)
        if not breaker.allow(now):
            calls.append(Call(now, now, "spared"))
            continue
        ok = not (TROUBLE <= now < TROUBLE + outage and chance < failing)
        done = now + (OKAY_S if ok else timeout)
        heappush(flying, (done, i, now, ok))
        calls.append(Call(now, done, "ok" if ok else "failed", probe=breaker.probing))
    return calls


def _breaker(p: Params) -> View:
    settings = {"gap": p["gap"], "outage": p["outage"], "failing": p["failing"], "timeout": p["timeout"]}
    breaker = Breaker(p["threshold"], p["cooldown"])
    calls = through_outage(breaker, **settings)
    plain = through_outage(Breaker(10**9, 1), **settings)
    spared = sum(call.end == "spared" for call in calls)
    failed, failed_plain = (sum(call.end == "failed" for call in run) for run in (calls, plain))
    probes = sum(call.probe for call in calls)
    back = next((call.at for call in calls if call.at >= TROUBLE + p["outage"] and call.end == "ok"), END)
    say = (
        f"Without a breaker {failed_plain} requests wait {p['timeout']:g} s for nothing; with it **{failed}** do and "
        f"**{spared} are answered at once** by the fallback. {probes} probes went out; the first good call came "
        f"{max(0, back - TROUBLE - p['outage']):.1f} s after the outage."
    )
    states = [
        (at, state, breaker.states[i + 1][0] if i + 1 < len(breaker.states) else END)
        for i, (at, state) in enumerate(breaker.states)
    ]
    scene = {
        "calls": [asdict(call) for call in calls],
        "states": states,
        "trouble": [TROUBLE, TROUBLE + p["outage"]],
        "end": END,
        "wasted": {"without": failed_plain * p["timeout"], "with": failed * p["timeout"]},
        "failing": p["failing"],
    }
    rows = [
        (round(at, 1), round(until, 1), state, sum(at <= c.at < until and c.end == "spared" for c in calls))
        for at, state, until in states
    ]
    return View(scene, say, Table("States of the breaker", ["from, s", "to, s", "state", "requests spared"], rows))


def breaker(**start: object) -> Figure:
    """Show a circuit breaker's states through a provider's outage, and the calls it spares."""
    controls = (
        Slider("threshold", "Opens after", 1, 20, 5, unit="failures in a row"),
        Slider("cooldown", "Cool-down", 2, 40, 10, 2, "s"),
        Slider("outage", "The outage lasts", 0, 80, 45, 5, "s"),
        stops("failing", "Calls failing in it", 1.0, (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0), "%"),
        Slider("timeout", "A failing call takes", 1, 10, 5, unit="s"),
        stops("gap", "A request every", 1, (0.5, 1, 2), "s"),
    )
    title, question = (
        "Closed, open, half open",
        "The provider goes away. How many requests must wait before nobody is sent there any more?",
    )
    return Figure("breaker", title, question, controls, _breaker, start)


@dataclass(frozen=True)
class Layer:
    """One layer that retries: how often it tries on average, and how often it gives up after all."""

    tries: float
    fails: float


def layers_of(count: int, attempts: int, failing: float) -> list[Layer]:
    """Return the layers from the provider upwards; each tries at most `attempts` times and tries are independent.

    A layer whose lower neighbour fails with chance q tries (1 - q^a) / (1 - q) times and fails with chance q^a.
    """
    layers, q = [], failing
    for _ in range(count):
        tries = float(attempts) if q >= 1 else (1 - q**attempts) / (1 - q)
        q = q**attempts
        layers.append(Layer(tries, q))
    return layers


def load(count: int, attempts: int, failing: float, budget: float | None = None) -> float:
    """Return the calls that reach the provider for one request; a budget caps the retries at that share of requests."""
    product = 1.0
    for layer in layers_of(count, attempts, failing):
        product *= layer.tries
    return product if budget is None else min(product, 1 + budget)


def _storm(p: Params) -> View:
    count, attempts, failing = p["layers"], p["attempts"], p["failing"]
    budget = 0.1 if p["budget"] else None
    worst, now = attempts**count, load(count, attempts, failing, budget)
    curve = [(f / 50, load(count, attempts, f / 50, budget), load(count, attempts, f / 50)) for f in range(51)]
    say = (
        f"{count} layers that try {attempts} times each make up to **{worst} calls** of one request. At {failing:.0%} "
        f"failing it is **{now:.2f} calls** on average: the provider gets {now:.2f} times its load just when it is "
        "weak."
    )
    if budget:
        say += " A retry budget of 10% holds it at 1.1."
    scene = {
        "sizes": [attempts**level for level in range(count + 1)],
        "curve": curve,
        "failing": failing,
        "now": now,
        "worst": worst,
        "budget": bool(budget),
    }
    rows = [(f"{f:.0%}", round(capped, 3), round(free, 3)) for f, capped, free in curve]
    return View(
        scene, say, Table("Calls per request by share of failing calls", ["failing", "calls", "without budget"], rows)
    )


def retry_storm(**start: object) -> Figure:
    """Show how retries of several layers multiply into a storm."""
    controls = (
        Slider("layers", "Layers that retry", 1, 4, 3),
        Slider("attempts", "Attempts in each", 1, 5, 3),
        stops("failing", "Calls failing", 0.5, tuple(f / 20 for f in range(21)), "%"),
        Switch("budget", "A retry budget: at most 10% more calls", start=False),
    )
    title, question = (
        "The retry storm",
        "The client, the framework and the gateway all try again. What reaches the provider?",
    )
    return Figure("storm", title, question, controls, _storm, start)
