"""Tasks: questions that a worker answers (contract, lab 9): how they are handed in and looked after."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grader.expectation import Broken, demand, expect
from grader.messages import nonce
from grader.patience import Stopwatch, eventually
from grader.provider import Fault

if TYPE_CHECKING:
    from grader.api import Api
    from grader.bench import Bench
    from grader.client import Caller
    from grader.exchange import Exchange
    from grader.provider import Call
    from grader.supervisor import Process

ROUTE = "/chat-async"
WORKER_LIMIT = 45.0
"""Seconds in which a worker must have started and done what waits for it; the contract says nothing of them."""

DEATH_LIMIT = 60.0
"""Seconds in which another worker must have done the task of one that was killed (contract, lab 9)."""


def hand_in(caller: Caller, message: str, key: str | None = None, **fields: object) -> Exchange:
    """POST /chat-async, perhaps with an Idempotency-Key."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return caller.post(ROUTE, json={"message": message, **fields}, headers=headers)


def accepted(exchange: Exchange) -> str:
    """The answer is 202 and says where to look; returns the task's id."""
    expect(exchange).status(202).field("status", "processing")
    task = expect(exchange).field("task_id", lambda told: isinstance(told, str) and told, what="a text").find("task_id")
    place = f"/chat-status/{task}"
    expect(exchange).header("Location", lambda told: told.endswith(place), what=place)
    return str(task)


def look(caller: Caller, task: str) -> Exchange:
    """Ask for the status of a task."""
    return caller.get(f"/chat-status/{task}")


def settled(caller: Caller, task: str, within: float = WORKER_LIMIT, worker: Process | None = None) -> Exchange:
    """Return the status of a task when it is no longer processing; at the latest after so many seconds."""
    seen: list[Exchange] = []

    def probe() -> None:
        seen[:] = [look(caller, task)]
        expect(seen[0]).status(200)
        unfinished = seen[0].json.get("status") == "processing"
        if unfinished and worker is not None and worker.poll() is not None:
            raise _WorkerEndedError
        demand(not unfinished, f"{seen[0]}, and the task is still processing", seen)

    try:
        eventually(within, "A task was handed in", probe)
    except _WorkerEndedError:
        raise Broken(f"A task waits, and the worker has ended: {last_words(worker)}", seen) from None
    return seen[0]


class _WorkerEndedError(Exception):
    """Nobody is there to do the task."""


def last_words(worker: Process | None) -> str:
    """How a worker ended, and its last line."""
    if worker is None:
        return "there is none."
    lines = worker.log.read_text(encoding="utf-8", errors="replace").splitlines() or ["it said nothing"]
    return f"exit code {worker.poll()}, {lines[-1][:300]}"


def completed(exchange: Exchange, calls: list[Call]) -> Exchange:
    """The task is complete, and its result is what the provider answered in one of the calls."""
    expect(exchange).field("status", "complete")
    answers = [(call.content, call.total_tokens, call.model) for call in calls]
    told = tuple(expect(exchange).find(f"result.{name}") for name in ("response", "tokens_used", "model"))
    demand(told in answers, f"{exchange} with a result that is not what the provider answered.", [exchange])
    return exchange


@dataclass
class Story:
    """What became of a few tasks and of the workers that had them in hand; nothing is judged yet.

    With QUEUE_MAX=2 two tasks are handed in while no worker runs, then one too many, then the first one again. The web
    process is replaced by one with QUEUE_MAX=3. A worker begins the first task and is killed in mid-call; another one
    finds the rest, and a third task, whose models hang. When all have ended, even QUEUE_MAX=1 leaves room.
    """

    caller: Caller
    first: Exchange
    second: Exchange
    full: Exchange
    known: Exchange
    early_calls: int
    held: bool
    hanging: Exchange
    failed: Exchange | None
    second_done: Exchange
    first_done: Exchange
    freed: Exchange
    calls: list[Call]


ROOM_LIMIT = 2.0
"""Seconds after which a task whose status is complete counts no longer."""

SEEN_WITHOUT_WORKER = 1.0
"""Seconds in which a web process that does the work itself would have called the provider."""


def story(bench: Bench) -> Story:
    """Let it happen."""
    provider, tag = bench.provider, nonce()
    api = bench.start(LLM_TIMEOUT_S="2", QUEUE_MAX="2", BREAKER_FAILURES="1000000")
    caller, key = api.new_caller(), nonce()
    first = hand_in(caller, f"{tag} first", key)
    second = hand_in(caller, f"{tag} second")
    full = hand_in(caller, f"{tag} third")
    known = hand_in(caller, f"{tag} first", key)
    tasks = accepted(first), accepted(second)
    early = len(provider.wait_for(1, tag, timeout=SEEN_WITHOUT_WORKER))
    api.service.stop()
    api = bench.another(api, QUEUE_MAX="3")
    caller = caller.at(api.address)
    held = _killed_in_mid_call(bench, api, f"{tag} first")
    worker = bench.worker(api)
    with provider.fault(Fault.hang(), f"{tag} hanging"):
        hanging = hand_in(caller, f"{tag} hanging")
        provider.wait_for(1, f"{tag} hanging", timeout=DEATH_LIMIT)  # its time runs once a worker is there
        failed = settled(caller, accepted(hanging), 2 * 2 + 10, worker) if hanging.status == 202 else None
    second_done = settled(caller, tasks[1], DEATH_LIMIT, worker)
    first_done = settled(caller, tasks[0], DEATH_LIMIT, worker)
    narrow = bench.another(api, QUEUE_MAX="1")  # so that a single one that is never let go is noticed
    freed = _as_soon_as_there_is_room(caller.at(narrow.address), f"{tag} last")
    before = (first, second, full, known, early, held)
    return Story(caller, *before, hanging, failed, second_done, first_done, freed, provider.calls(tag))


def _as_soon_as_there_is_room(caller: Caller, message: str) -> Exchange:
    """Hand in a task; one that is complete may count as unfinished for a moment more."""
    watch = Stopwatch()
    while (answer := hand_in(caller, message)).status == 503 and watch.stop() - watch.starved < ROOM_LIMIT:
        time.sleep(0.25)  # spares the rate limit
    return answer


def _killed_in_mid_call(bench: Bench, api: Api, message: str) -> bool:
    """Start a worker and kill it, with all its processes, as soon as it waits for the provider; whether it did."""
    worker = bench.worker(api)
    with bench.provider.gate(message) as gate:
        watch = Stopwatch()
        held = 0
        while not held and worker.poll() is None and watch.elapsed - watch.starved < WORKER_LIMIT:
            held = gate.wait_held(1, timeout=1.0)
            watch.stop()
        worker.signal_group(signal.SIGKILL)
        worker.wait(5.0)
    return bool(held)
