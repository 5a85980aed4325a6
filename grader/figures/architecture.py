"""Section 1: one request on its way through a prototype and through production, and what survives a lost part.

What each part's loss means is the service's contract: Redis lost, answers go on with limits per process; the database
lost, API keys still work, logins do not; the model lost, the fallback or an earlier answer, else 503.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from grader.figures.controls import Choice, Picks
from grader.figures.theme import Figure, Params, Table, View

REPLICAS = ("api 1", "api 2", "api 3")
PARTS = {
    "prod": ("balancer", *REPLICAS, "redis", "database", "worker", "lab-large", "lab-small", "metrics"),
    "dev": ("process", "lab-large"),
}
REQUESTS = {"chat": "POST /chat", "login": "POST /login", "protected": "GET /protected", "async": "POST /chat-async"}


@dataclass(frozen=True)
class Hop:
    """One step of the way: from whom to whom, what is said, and whether nobody answered."""

    source: str
    target: str
    text: str
    lost: bool = False


@dataclass(frozen=True)
class Journey:
    """The whole way and its end: an HTTP status (0: no connection), `good`, `degraded` or `lost`, and why."""

    hops: tuple[Hop, ...]
    status: int
    grade: str
    remark: str


def _model(source: str, down: Collection[str], stale: bool) -> tuple[list[Hop], str, str]:
    hops = [Hop(source, "lab-large", "asks the main model", "lab-large" in down)]
    if "lab-large" not in down:
        return hops, "good", "answered by the main model"
    hops.append(Hop(source, "lab-small", "no answer in time: asks the fallback model", "lab-small" in down))
    if "lab-small" not in down:
        return hops, "degraded", "the fallback model answered"
    if stale:
        hops.append(Hop(source, "redis", "both models away: looks for an earlier answer to the same question"))
        return hops, "degraded", "an earlier answer, marked as stale, if this was asked before; else 503"
    return hops, "lost", "no model, no stored answer: 503 with Retry-After"


def _needs(source: str, down: Collection[str], *wants: tuple[str, str]) -> tuple[list[Hop], str]:
    hops: list[Hop] = []
    for part, text in wants:
        hops.append(Hop(source, part, text, part in down))
        if part in down:
            return hops, part
    return hops, ""


def _inside(kind: str, api: str, down: Collection[str]) -> tuple[list[Hop], int, str, str]:
    """Follow a request inside one replica."""
    redis = "redis" not in down
    limit = Hop(
        api,
        "redis",
        "takes one token of the caller's allowance" if redis else "no shared allowance: counts in this process",
        not redis,
    )
    if kind == "chat":
        first = [limit, *([Hop(api, "redis", "looks into the cache: a miss")] if redis else [])]
        hops, grade, remark = _model(api, down, stale=redis)
        if grade == "good" and not redis:
            grade, remark = "degraded", "answered, without a cache and with limits per process"
        return first + hops, 503 if grade == "lost" else 200, grade, remark
    if kind == "async":
        hops, missing = _needs(
            api, down, ("database", "writes down the task and its owner"), ("redis", "puts the task into the queue")
        )
        if missing:
            return hops, 503, "lost", f"without {missing} no task is accepted"
        if "worker" in down:
            return hops, 202, "degraded", "accepted; it waits in the queue until a worker is back"
        more, grade, remark = _model("worker", down, stale=False)
        took = Hop("worker", "redis", "takes the task from the queue")
        return (
            [*hops, took, *more],
            202,
            grade if grade != "lost" else "degraded",
            remark if grade != "lost" else "accepted; its status will say failed",
        )
    hops, missing = _needs(
        api, down, ("database", "reads the password's hash" if kind == "login" else "reads the user's role")
    )
    before = [limit] if kind == "login" else []
    if missing:
        return before + hops, 503, "lost", "users live in the database: 503"
    return (
        before + hops,
        200,
        "good" if redis or kind == "protected" else "degraded",
        "answered" if redis or kind == "protected" else "answered, the throttle counts per process",
    )


def production(kind: str, down: Collection[str]) -> Journey:
    """Follow a request through the balancer, a live replica and what that replica needs."""
    first = Hop("client", "balancer", "sends the request over TLS", "balancer" in down)
    if "balancer" in down:
        return Journey((first,), 0, "lost", "nobody listens at the address: even the balancer needs a second one")
    alive = [name for name in REPLICAS if name not in down]
    if not alive:
        return Journey(
            (first, Hop("balancer", "api 1", "finds no ready replica", lost=True)),
            503,
            "lost",
            "no ready replica is left",
        )
    api = alive[0]
    hops, status, grade, remark = _inside(kind, api, down)
    ready = f"picks a replica that says it is ready ({len(alive)} of 3)"
    scrape = Hop("metrics", api, "counts it at the next scrape", lost="metrics" in down)
    return Journey(
        (first, Hop("balancer", api, ready), *hops, Hop(api, "client", f"answers {status}", lost=False), scrape),
        status,
        grade,
        remark,
    )


def development(kind: str, down: Collection[str]) -> Journey:
    """Follow a request into the one process that is everything."""
    first = Hop("client", "process", "sends the request, unencrypted, to port 8000", "process" in down)
    if "process" in down:
        return Journey((first,), 0, "lost", "no process, no service; users, limits and cache were in its memory")
    if kind in {"login", "protected"}:
        return Journey(
            (first, Hop("process", "client", "looks into a dictionary, answers 200")),
            200,
            "good",
            "answered; the users are gone at the next restart",
        )
    if "lab-large" in down:
        hop = Hop("process", "lab-large", "waits for the model without a time limit", lost=True)
        return Journey(
            (first, hop, Hop("process", "client", "answers 500 with the provider's message in it")),
            500,
            "lost",
            "the error text leaks to the client",
        )
    hops = (
        first,
        Hop("process", "lab-large", "calls the model and blocks everybody else"),
        Hop("process", "client", "answers 200"),
    )
    return Journey(hops, 200, "good", "answered; nobody else was, meanwhile")


def journey(world: str, kind: str, down: Collection[str]) -> Journey:
    """Follow one request in the world `dev` or `prod` with some parts down."""
    return production(kind, down) if world == "prod" else development(kind, down)


def _flow(p: Params) -> View:
    world = p["world"]
    down = [part for part in p["down"] if part in PARTS[world]]
    all_of_them = {kind: journey(world, kind, down) for kind in REQUESTS}
    way = all_of_them[p["request"]]
    alive = sum(j.grade != "lost" for j in all_of_them.values())
    lost = f"without {', '.join(down)}" if down else "with every part up"
    status = way.status or "no connection"
    say = (
        f"{'Production' if world == 'prod' else 'The prototype'} {lost}: **{alive} of {len(REQUESTS)}** kinds of "
        f"request still work. {REQUESTS[p['request']]}: **{status}**, {way.remark}."
    )
    scene = {
        "world": world,
        "down": down,
        "hops": [asdict(hop) for hop in way.hops],
        "status": way.status,
        "grade": way.grade,
        "verdicts": [
            {"kind": k, "name": REQUESTS[k], "status": j.status, "grade": j.grade, "remark": j.remark}
            for k, j in all_of_them.items()
        ],
    }
    rows = [(v["name"], v["status"] or "no connection", v["grade"], v["remark"]) for v in scene["verdicts"]]
    return View(scene, say, Table("What survives", ["request", "status", "grade", "remark"], rows))


def request_flow(**start: object) -> Figure:
    """Follow a request step by step through prototype or production; click a part to kill it."""
    controls = (
        Choice("world", "World", (("dev", "prototype"), ("prod", "production")), "prod"),
        Choice("request", "Request", tuple(REQUESTS.items()), "chat"),
        Picks("down", tuple(dict.fromkeys(PARTS["prod"] + PARTS["dev"]))),
    )
    title, question = "One request, two worlds", "Step through it. Then click a part to take it down: what still works?"
    return Figure("flow", title, question, controls, _flow, start)
