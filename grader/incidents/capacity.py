"""Incidents of something that is full, or grows until it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from grader.exchange import closing
from grader.expectation import Broken, demand, expect
from grader.exposition import Reading
from grader.incidents.incident import Edit, Incident
from grader.incidents.production import PATIENCE, gathered
from grader.messages import nonce
from grader.tasks import accepted, hand_in

if TYPE_CHECKING:
    from grader.api import Api
    from grader.incidents.production import Production

DATABASE_ADMITS = 40
"""Connections of all replicas and the worker together."""

BEYOND_THE_POOL, MOST_CHATS = 4, 60


def prove_connections_come_back(production: Production) -> None:
    """While more customers wait for the model than there are connections, logins and probes work all the same."""
    api = production.first
    chats = api.settings.integer("DB_POOL_SIZE") + api.settings.integer("DB_MAX_OVERFLOW") + BEYOND_THE_POOL
    tag, user = nonce(), api.token_caller(api.new_user())
    with production.provider.gate(tag) as gate:
        asked = [
            api.new_caller().begin_chat(f"{tag} {number}", timeout=PATIENCE) for number in range(min(chats, MOST_CHATS))
        ]
        with closing(asked):
            held = gathered(gate, len(asked))
            demand(held == len(asked), f"Of {len(asked)} customers at once {held} got as far as the model.")
            for path, caller in {"/protected": user, "/readyz": api.anonymous}.items():
                expect(caller.get(path)).status(200, because=f"{held} others only wait for the model")
            if not hasattr(api.database, "broken"):
                used = len(production.replicas) * api.database.connections()
                said = f"{used} connections would be open if all replicas were as busy"
                demand(used <= DATABASE_ADMITS, f"{said}; the database admits {DATABASE_ADMITS}.")
            gate.open()
            for pending in asked:
                expect(pending.result()).status(200)


def fill_the_hall(production: Production) -> None:
    """Have the model think for three seconds, so that many customers wait at once."""
    production.provider.latency(3.0)


RUSH_HOUR = Incident(
    name="rush-hour",
    kind="capacity",
    edits=(
        Edit(
            "service/app/auth.py",
            "                request.state.caller = await authorized(request, Role.USER)\n"
            "                return await handle(request)\n",
            "                async with request.app.state.store.engine.begin() as transaction:\n"
            '                    await transaction.exec_driver_sql("SELECT 1")  # fail early without the database\n'
            "                    request.state.caller = await authorized(request, Role.USER)\n"
            "                    return await handle(request)\n",
        ),
    ),
    prove=prove_connections_come_back,
    live=fill_the_hall,
    habits={"visitors": 30, "ask_anew": 12},
    replay={"LLM_TIMEOUT_S": str(PATIENCE)},
)

PRESSURE_KEYS, PRESSURE_BYTES = 1600, 16 << 10
QUESTIONS = 12


def prove_redis_can_make_room(production: Production) -> None:
    """What answers leave in Redis has a time to live; when Redis is full it makes room, and loses no task."""
    api, client, tag = production.first, production.redis, nonce()
    before = set(client.scan_iter("*", count=1000))
    caller = api.new_caller()
    for number in range(QUESTIONS):
        expect(
            caller.at(production.replicas[number % len(production.replicas)].address).chat(f"{tag} {number}")
        ).status(200)
    eternal = [key for key in set(client.scan_iter("*", count=1000)) - before if client.pttl(key) == -1]
    demand(
        not eternal,
        f"{QUESTIONS} answers left {len(eternal)} keys in Redis that never expire, "
        f"{eternal[0].decode(errors='replace') if eternal else ''} for one.",
    )
    accepted(hand_in(caller, f"{tag} task"))
    queued = [key for key in client.scan_iter("*", count=1000) if client.pttl(key) == -1]
    _press(production)
    lost = [key.decode(errors="replace") for key in queued if not client.exists(key)]
    demand(
        not lost, f"When Redis was full it threw away {lost[0] if lost else ''}, which holds tasks or belongs to them."
    )
    expect(caller.chat(f"{tag} full")).status(200)
    accepted(hand_in(caller, f"{tag} another task"))


def _press(production: Production) -> None:
    """Write more than Redis holds, all of it with a time to live. Raises ``Broken`` when Redis refuses."""
    import redis  # noqa: PLC0415  # 0.2 s

    value = b"x" * PRESSURE_BYTES
    pipe = production.redis.pipeline(transaction=False)
    for number in range(PRESSURE_KEYS):
        pipe.set(f"answer:pressure:{number}", value, ex=3600)
    try:
        pipe.execute()
    except redis.ResponseError as error:
        raise Broken(f"Redis is full and refuses writes, instead of making room: {error}") from None


def fill_redis(production: Production) -> None:
    """Put three weeks of answers there, as the service with the fault writes them."""
    client = production.redis
    for number in range(6000):
        if number % 200 == 0 and client.info("memory")["used_memory"] > 0.97 * client.info("memory")["maxmemory"]:
            return
        client.set(f"answer:{nonce(64)}", f'[1700000000.0, "{nonce(4000)}", 900, "lab-large"]')


FORGETFUL = Incident(
    name="forgetful",
    kind="capacity",
    edits=(Edit("service/app/cache.py", ", kept.dump(), px=rest)", ", kept.dump())"),),
    prove=prove_redis_can_make_room,
    live=fill_redis,
)

ANSWER_BYTES = 100_000
WARM, COUNTED, ROUNDS = 30, 60, 3
MOST_KEPT = 0.5
"""Share of what was answered by which a process may grow in a round, once what it keeps has had time to fill."""


def prove_memory_levels_off(production: Production) -> None:
    """After thirty large answers to thirty customers, sixty more hardly make the process grow."""
    api, tag = production.first, nonce()
    process = psutil.Process(api.service.process.pid)
    text = f"{tag} " + "answer " * (ANSWER_BYTES // 7)
    answered, grown = COUNTED * len(text), []
    with production.provider.answer(text, tag):
        _ask(api, tag, WARM)
        for _ in range(ROUNDS):
            before = process.memory_info().rss
            _ask(api, tag, COUNTED)
            grown.append(process.memory_info().rss - before)
            if grown[-1] <= MOST_KEPT * answered:
                return
    told = ", ".join(f"{each / 1e6:.1f}" for each in grown)
    each = f"{COUNTED} answers of {len(text) >> 10} KB to {COUNTED} customers"
    raise Broken(f"{ROUNDS} times {each}, {answered / 1e6:.1f} MB each time, made the process grow by {told} MB.")


def _ask(api: Api, tag: str, count: int) -> None:
    for _ in range(count):
        expect(api.new_caller().chat(f"{tag} {nonce()}")).status(200)


def talk_much(production: Production) -> None:
    """Have the model give long answers."""
    production.provider.answer("A long story about this case. " * 2000, "case")


SUNDAY_OOM = Incident(
    name="sunday-oom",
    kind="capacity",
    edits=(
        Edit(
            "service/app/cache.py",
            "        self._flights: dict[str, asyncio.Task[Answer]] = {}\n",
            "        self._flights: dict[str, asyncio.Task[Answer]] = {}\n"
            "        self._history: dict[str, list[tuple[Prompt, Completion]]] = {}  # by caller, for conversations\n",
        ),
        Edit(
            "service/app/cache.py",
            "        if not completion.degraded:\n",
            "        self._history.setdefault(caller, []).append((prompt, completion))\n"
            "        if not completion.degraded:\n",
        ),
    ),
    prove=prove_memory_levels_off,
    live=talk_much,
)

ODD_PATHS = 40
MOST_NEW = 4
"""Values that the label may gain: a template or two, and one for everything unknown."""


def prove_labels_are_bounded(production: Production) -> None:
    """Forty paths that nobody has, and forty task ids, add no more than four values to the label handler."""
    api = production.first
    caller = api.new_caller()
    caller.chat()
    before = Reading.of(api).values("http_requests_total", "handler")
    demand("/chat" in before, "http_requests_total has no handler /chat.")
    for number in range(ODD_PATHS):
        api.anonymous.get(f"/{nonce(6)}/{nonce(4)}{number}")
        caller.get(f"/chat-status/{nonce(20)}{number}")
    after = Reading.of(api).values("http_requests_total", "handler")
    new = sorted(after - before)
    demand(
        len(new) <= MOST_NEW,
        f"{2 * ODD_PATHS} requests for paths of the client's choice added {len(new)} values to handler: "
        f"{', '.join(new[:3])} …",
    )


HEAVY_METRICS = Incident(
    name="heavy-metrics",
    kind="capacity",
    edits=(
        Edit(
            "service/app/telemetry.py",
            'handler = getattr(self.scope.get("route"), "path", "unknown")',
            'handler = self.scope["path"]',
        ),
    ),
    prove=prove_labels_are_bounded,
    habits={"wander": 4, "hand_in": 2},
)
