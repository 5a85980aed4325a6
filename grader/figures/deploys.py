"""Section 8: a rolling deploy with and without a graceful drain, and which image layers a change rebuilds.

Times are seconds. Three replicas are replaced one after another; each new one starts before its old one is told to end.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from grader.figures.controls import Choice, Slider, Switch, stops
from grader.figures.theme import Figure, Params, Table, View

START_UP, FIRST, TOLD, GAP, REPLICAS = 4.0, 6.0, 0.75, 0.5, 3


@dataclass(frozen=True)
class Life:
    """One replica: sent requests from `ready` to `unseen`, told to end at `term`, shut at `closed`, over at `gone`."""

    name: str
    ready: float
    term: float
    unseen: float
    closed: float
    kill: float
    gone: float


@dataclass(frozen=True)
class Served:
    """One request: which replica got it, from when to when, and `ok`, `refused` (closed door) or `cut` (killed)."""

    at: float
    replica: str
    done: float
    end: str


@dataclass(frozen=True)
class Plan:
    """How a replica ends: does it hear SIGTERM, how long it keeps its door open after it, how long until SIGKILL."""

    answer: float
    grace: float
    delay: float
    probe: float
    hears: bool


def next_probe(at: float, every: float) -> float:
    """Return when the balancer next looks, and so notices a change of readiness."""
    return math.ceil(at / every - 1e-9) * every


def lives(plan: Plan) -> list[Life]:
    """Roll the fleet: new replica up and noticed, old one told to end, next pair when the old one is gone."""
    fleet, at = [], FIRST
    for i in range(1, REPLICAS + 1):
        up = next_probe(at + START_UP, plan.probe)
        term = up + TOLD
        kill = term + plan.grace
        closed = min(kill, term + plan.delay) if plan.hears else kill
        unseen = next_probe(term if plan.hears else kill, plan.probe)
        gone = min(kill, closed + plan.answer) if plan.hears else kill
        fleet += [Life(f"old {i}", 0.0, term, unseen, closed, kill, gone), Life(f"new {i}", up, *[math.inf] * 5)]
        at = gone + 1
    return fleet


def rolled(plan: Plan) -> tuple[list[Life], list[Served]]:
    """Send a request every half second, round robin over what the balancer believes ready, until the roll is over."""
    fleet = lives(plan)
    end = max(life.gone for life in fleet if life.gone < math.inf) + 4
    served, turn = [], 0
    for i in range(int(end / GAP)):
        now = i * GAP
        known = [life for life in fleet if life.ready <= now < life.unseen]
        life, turn = known[turn % len(known)], turn + 1
        if now >= life.closed:
            served.append(Served(now, life.name, now, "refused"))
        elif now + plan.answer > life.gone + 1e-9:
            served.append(Served(now, life.name, life.gone, "cut"))
        else:
            served.append(Served(now, life.name, now + plan.answer, "ok"))
    return fleet, served


def _drain(p: Params) -> View:
    plan = Plan(p["answer"], p["grace"], p["delay"], p["probe"], p["hears"])
    fleet, served = rolled(plan)
    count = {end: sum(s.end == end for s in served) for end in ("ok", "refused", "cut")}
    say = (
        f"{len(served)} requests during the deploy: **{count['ok']} answered**, {count['refused']} refused at a "
        f"closed door, {count['cut']} cut off in flight."
    )
    if not plan.hears:
        say += " A shell swallowed SIGTERM: the process works on until SIGKILL."
    elif count["refused"]:
        say += " The balancer still sends while the door is closed: keep it open for longer than its probe takes."
    elif count["cut"]:
        say += f" An answer takes {plan.answer:g} s: the grace must be longer than delay and answer together."
    else:
        say += " Nobody noticed."
    end = served[-1].at + GAP + plan.answer
    clean = [{k: min(v, end) if isinstance(v, float) else v for k, v in asdict(life).items()} for life in fleet]
    scene = {"fleet": clean, "served": [asdict(s) for s in served], "count": count, "end": end}
    rows = [(s.at, s.replica, s.end, round(s.done, 2)) for s in served]
    return View(scene, say, Table("Every request of the deploy", ["at, s", "replica", "end", "until, s"], rows))


def drain(**start: object) -> Figure:
    """Show a rolling deploy of three replicas: SIGTERM, readiness, requests in flight."""
    controls = (
        Slider("answer", "An answer takes", 1, 15, 5, unit="s"),
        Slider("delay", "Door stays open after SIGTERM", 0, 10, 0, unit="s"),
        Slider("grace", "SIGKILL after", 2, 30, 10, unit="s"),
        Slider("probe", "The balancer looks every", 1, 6, 3, unit="s"),
        Switch("hears", "The process hears SIGTERM (exec form)", start=True),
    )
    title, question = (
        "A deploy nobody notices",
        "Three old replicas are replaced. Who is refused at a closed door, whose answer is cut?",
    )
    return Figure("drain", title, question, controls, _drain, start)


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile: what it reads, how long it takes, how large its layer is, and its stage."""

    text: str
    reads: frozenset[str]
    seconds: float
    megabytes: float
    stage: str = ""


def dockerfile(order: str, install: float) -> list[Step]:
    """Return the steps of one of three Dockerfiles for the same service."""
    base = Step("FROM python:3.13-slim", frozenset({"base"}), 6, 125)
    copy_all = Step("COPY . .", frozenset({"code", "requirements"}), 1, 3)
    some = Step("COPY requirements.txt .", frozenset({"requirements"}), 0.2, 0.1)
    pip = Step("RUN pip install -r requirements.txt", frozenset({"requirements"}), install, 310)
    user = Step("RUN useradd app", frozenset(), 0.5, 0.1)
    if order == "naive":
        return [base, copy_all, pip, user]
    if order == "ordered":
        return [base, some, pip, user, copy_all]
    build = [
        replace(some, text=f"build: {some.text}", stage="build"),
        replace(pip, text="build: RUN pip install into /venv", megabytes=0, stage="build"),
    ]
    return [
        base,
        *build,
        replace(user, stage="final"),
        Step("COPY --from=build /venv /venv", frozenset({"requirements"}), 3, 240, "final"),
        replace(copy_all, stage="final"),
    ]


def rebuilt(steps: list[Step], changed: str) -> list[bool]:
    """Say for each step whether it runs again: it reads what changed, or an earlier step of its stage ran again."""
    runs, dirty = [], set[str]()
    for step in steps:
        runs.append(changed in step.reads or bool(dirty & {"", step.stage}))
        if runs[-1]:
            dirty.add(step.stage)
    return runs


def _layers(p: Params) -> View:
    orders = {"naive": "all code first", "ordered": "dependencies first", "stages": "two stages"}
    builds = {}
    for order in orders:
        steps = dockerfile(order, p["install"])
        runs = rebuilt(steps, p["changed"])
        builds[order] = {
            "steps": [asdict(s) | {"reads": sorted(s.reads), "runs": r} for s, r in zip(steps, runs, strict=True)],
            "seconds": sum(s.seconds for s, r in zip(steps, runs, strict=True) if r),
            "megabytes": sum(s.megabytes for s in steps),
        }
    mine: dict[str, Any] = builds[p["order"]]
    what = {
        "code": "one line of code",
        "requirements": "one dependency",
        "base": "the base image",
        "nothing": "nothing",
    }[p["changed"]]
    again = sum(step["runs"] for step in mine["steps"])
    say = (
        f"You changed {what}. With {orders[p['order']]}, {again} of {len(mine['steps'])} layers are built again: "
        f"**{mine['seconds']:.0f} s**"
    )
    others = [f"{orders[o]} {b['seconds']:.0f} s" for o, b in builds.items() if o != p["order"]]
    say += f" ({', '.join(others)}); the image has {mine['megabytes']:.0f} MB."
    scene = {
        "steps": mine["steps"],
        "totals": [{"name": orders[o], "seconds": b["seconds"], "mine": o == p["order"]} for o, b in builds.items()],
    }
    rows = [
        (s["text"], "built again" if s["runs"] else "from the cache", s["seconds"], s["megabytes"])
        for s in mine["steps"]
    ]
    return View(scene, say, Table("Layers of this image", ["instruction", "now", "s", "MB"], rows))


def image_layers(**start: object) -> Figure:
    """Show which layers of an image a change rebuilds, by the order of the Dockerfile."""
    controls = (
        Choice(
            "order",
            "The Dockerfile copies",
            (("naive", "all code first"), ("ordered", "dependencies first"), ("stages", "two stages")),
            "naive",
        ),
        Choice(
            "changed",
            "You changed",
            (
                ("nothing", "nothing"),
                ("code", "a line of code"),
                ("requirements", "a dependency"),
                ("base", "the base image"),
            ),
            "code",
        ),
        stops("install", "Installing takes", 60, (5, 10, 20, 30, 60, 120, 300), "s"),
    )
    title, question = (
        "What a change rebuilds",
        "A layer is built again if anything before it changed. In which order do you copy?",
    )
    return Figure("layers", title, question, controls, _layers, start)
