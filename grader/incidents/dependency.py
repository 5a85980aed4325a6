"""Incidents that begin at somebody else's service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from grader.exchange import burst
from grader.expectation import Broken, Inconclusive, demand, expect
from grader.incidents.incident import Edit, Incident
from grader.incidents.traffic import FREQUENT
from grader.messages import new_message, nonce
from grader.patience import Stopwatch
from grader.provider import Fault
from grader.tasks import accepted, hand_in, last_words, look, settled

if TYPE_CHECKING:
    from grader.incidents.production import Production

MOST_CALLS = 4
"""Completions that one request or task may cost (contract, lab 7)."""


DONE_WITHIN = 90.0
"""Seconds in which a worker has started and is done with a task; one that goes round is caught by its calls before."""


def prove_retries_are_bounded(production: Production) -> None:
    """While the model answers 429 a request costs at most four calls; when it is back, it is asked again."""
    tag = nonce()
    with production.provider.fault(Fault.status(429, retry_after=0.05), tag):
        for number, api in enumerate(production.replicas):
            answer = api.new_caller().chat(f"{tag} {number}")
            calls = len(production.provider.calls(f"{tag} {number}"))
            said = f"One request, while the model answered 429, became {calls} calls"
            demand(0 < calls <= MOST_CALLS, f"{said}; 1 to {MOST_CALLS} are right.", [answer])
            expect(answer).status(503).header("Retry-After")
    for api in production.replicas:
        expect(api.new_caller().chat(f"{tag} after")).status(200)


def overload_the_model(production: Production) -> None:
    """Have the provider refuse one call in ten."""
    production.provider.fault(Fault.status(429, retry_after=0.3), "case 1")


AFTERSHOCK = Incident(
    name="aftershock",
    kind="dependency",
    edits=(
        Edit(
            "service/app/model.py",
            "max_retries=0,  # the client's own retries would know neither our deadline nor our breaker",
            "max_retries=4,",
        ),
        Edit(
            "service/app/model.py",
            "gives up after our deadline, once, and counts",
            "gives up after our deadline and counts",
        ),
    ),
    prove=prove_retries_are_bounded,
    live=overload_the_model,
)


def prove_damage_is_a_miss(production: Production) -> None:
    """An entry of the cache that is cut or of another version costs one call, not an error; then it is whole again."""
    api, provider = production.first, production.provider
    for damaged in ("cut", "other"):
        caller, message = api.new_caller(), new_message()
        content = str(expect(caller.chat(message)).status(200).find("response"))
        _damage(production, content, damaged)
        answer = caller.chat(message)
        expect(answer).status(200)
        demand(
            len(provider.calls(message)) > 1
            and answer.json["response"] in {call.content for call in provider.calls(message)},
            "A damaged entry was served as an answer.",
            [answer],
        )
        for replica in production.replicas:
            expect(caller.at(replica.address).chat(message)).status(200).header("X-Cache", "HIT")


def _damage(production: Production, content: str, how: str) -> None:
    """Spoil what Redis holds of an answer: cut it in half, or make it another version's. Raises ``Inconclusive``."""
    needle = json.dumps(content)[1:21].encode()
    client = production.redis
    keys = [
        key for key in client.scan_iter("*") if client.type(key) == b"string" and needle in (client.get(key) or b"")
    ]
    if not keys:
        raise Inconclusive("No text in Redis contains the answer, so it cannot be damaged; store it as text.")
    for key in keys:
        value = client.get(key) or b""
        client.set(key, value[: len(value) // 2] if how == "cut" else b'["2", {"text": "?"}]', keepttl=True)


def damage_a_popular_entry(production: Production) -> None:
    """Leave half an entry where a visitor's frequent question is answered from."""
    answer = production.visitors[0].chat(FREQUENT[0])
    _damage(production, str(expect(answer).status(200).find("response")), "cut")


ONE_QUESTION = Incident(
    name="one-question",
    kind="dependency",
    edits=(
        Edit(
            "service/app/cache.py",
            "        try:\n"
            "            at, text, tokens, model = json.loads(stored)\n"
            "        except (ValueError, TypeError):\n"
            "            return None\n",
            "        at, text, tokens, model = json.loads(stored)\n",
        ),
        Edit(
            "service/app/cache.py",
            "Return what was stored, None if it is damaged or of another version.",
            "Return what was stored.",
        ),
    ),
    prove=prove_damage_is_a_miss,
    live=damage_a_popular_entry,
    habits={"ask_again": 8},
)


def prove_fallback_is_not_kept(production: Production) -> None:
    """An answer of the fallback model says that it is degraded, and the next one comes from the model itself."""
    api, provider, tag = production.first, production.provider, nonce()
    primary, caller = api.settings.env["LLM_MODEL"], api.new_caller()
    with provider.fault(Fault.status(500), tag, model=primary):
        expect(caller.chat(tag)).status(200).field("degraded", True)  # a value
    for replica in production.replicas:
        answer = caller.at(replica.address).chat(tag)
        expect(answer).status(200)
        demand(
            answer.json.get("model") == primary and not answer.json.get("degraded"),
            f"{primary} is well again, and {answer.json.get('model')}'s answer of the outage was served "
            f"(X-Cache: {answer.headers.get('x-cache')}).",
            [answer],
        )
    good = [call for call in provider.calls(tag, model=primary) if call.status == 200]
    demand(good, f"{primary} was not asked again.")


def break_the_large_model(production: Production) -> None:
    """Have customers ask frequent questions while the large model is ill; then it is well again."""
    with production.provider.fault(Fault.status(500), model=production.first.settings.env["LLM_MODEL"]):
        asked = [visitor.prepare_chat(question) for visitor in production.visitors[:4] for question in FREQUENT]
        for answer in burst(asked):
            expect(answer).status(200)


HALF_HEARTED = Incident(
    name="half-hearted",
    kind="dependency",
    edits=(Edit("service/app/cache.py", "        if not completion.degraded:\n", "        if completion.text:\n"),),
    prove=prove_fallback_is_not_kept,
    live=break_the_large_model,
    replay={"LLM_TIMEOUT_S": "20"},
    habits={"ask_again": 8},
)


def prove_poison_is_given_up(production: Production) -> None:
    """A task that the provider refuses is failed after at most four calls, and the next task is done."""
    api, provider, tag = production.first, production.provider, nonce()
    caller, worker = api.new_caller(), production.worker
    with provider.fault(Fault.status(400), f"{tag} poison"):
        task = accepted(hand_in(caller, f"{tag} poison"))
        watch = Stopwatch()
        while look(caller, task).json.get("status") == "processing":
            calls = len(provider.wait_for(MOST_CALLS + 1, f"{tag} poison", timeout=0.5))
            demand(calls <= MOST_CALLS, f"The provider refused a task with 400 and was asked {calls} times.")
            if worker.poll() is not None:
                raise Broken(f"The worker has ended: {last_words(worker)}")
            watch.stop()
            patient = watch.elapsed - watch.starved < DONE_WITHIN
            demand(patient, "A task that the provider refuses is still processing.")
        expect(look(caller, task)).status(200).field("status", "failed")
        calls = len(provider.calls(f"{tag} poison"))
        demand(1 <= calls <= MOST_CALLS, f"The provider refused a task with 400 and was asked {calls} times.")
    good = accepted(hand_in(caller, f"{tag} good"))
    expect(settled(caller, good, worker=worker)).field("status", "complete")


def refuse_some_tasks(production: Production) -> None:
    """Have the provider refuse three tasks in ten."""
    for digit in (2, 5, 8):
        production.provider.fault(Fault.status(400), f"Summarise case {digit}")


BUSY_NIGHTS = Incident(
    name="busy-nights",
    kind="dependency",
    edits=(
        Edit(
            "service/app/worker.py",
            "        try:\n"
            "            return await self.model.complete(prompt)\n"
            "        except ModelError:\n"
            "            return None",
            "        return await self.model.complete(prompt)",
        ),
        Edit(
            "service/app/worker.py",
            "autoretry_for=(SQLAlchemyError, TimeoutError, OSError), max_retries=None, default_retry_delay=2",
            "autoretry_for=(Exception,), max_retries=None, default_retry_delay=1",
        ),
        Edit("production.toml", "QUEUE_MAX = 40", "QUEUE_MAX = 20"),
    ),
    prove=prove_poison_is_given_up,
    live=refuse_some_tasks,
    habits={"hand_in": 6},
)
