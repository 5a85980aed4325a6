"""Incidents that a release of code brought."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from grader.exchange import closing
from grader.expectation import demand, expect
from grader.incidents.incident import Edit, Incident
from grader.incidents.production import PATIENCE, SOON, gathered
from grader.messages import new_message, nonce

if TYPE_CHECKING:
    from grader.incidents.production import Production

AT_ONCE = 8
LEAST_AT_ONCE = 4
"""Calls in flight that a replica must manage; threads, which are a right mend too, are few on a small machine."""

CROWD = 10
"""Equal questions at once, at each replica."""


def prove_loop_turns(production: Production) -> None:
    """While eight customers wait for the model, each replica has at least four calls in flight and answers /livez."""
    for api in production.replicas:
        tag = nonce()
        with production.provider.gate(tag) as gate:
            asked = [api.new_caller().begin_chat(f"{tag} {number}", timeout=PATIENCE) for number in range(AT_ONCE)]
            with closing(asked):
                held = gathered(gate, LEAST_AT_ONCE)
                said = f"{AT_ONCE} customers asked one replica at once, and {held} of their calls were at the model"
                demand(held >= LEAST_AT_ONCE, f"{said}; at least {LEAST_AT_ONCE} were expected.")
                alive = api.anonymous.begin("GET", "/livez", timeout=SOON)
                demand(alive.answered(SOON), f"{said}, and /livez did not answer.", [alive.exchange()])
                gate.open()
                for pending in asked:
                    expect(pending.result()).status(200)


def think_longer(production: Production) -> None:
    """Have the model take its time, as large ones do."""
    production.provider.latency(0.9)


STALLED = Incident(
    name="stalled",
    kind="code",
    edits=(
        Edit("service/app/model.py", "reply = await self._llm.ainvoke(", "reply = self._llm.invoke("),
        Edit("service/app/model.py", "Await the model (a blocking call would stop all requests), ", "Ask the model, "),
    ),
    prove=prove_loop_turns,
    live=think_longer,
    habits={"ask_anew": 12},
    replay={"LLM_TIMEOUT_S": str(PATIENCE)},
)


def prove_one_flight(production: Production) -> None:
    """Of many equal questions at once, when none is in the cache, each replica pays for one at most, and all answer."""
    caller, message = production.first.new_caller(), new_message()
    replicas = len(production.replicas)
    with production.provider.gate(message) as gate:
        asked = [
            caller.at(api.address).begin_chat(message, timeout=PATIENCE)
            for api in production.replicas
            for _ in range(CROWD)
        ]
        with closing(asked):
            gathered(gate, replicas + 1, SOON / 2)
            gate.open()
            answers = [pending.result() for pending in asked]
    calls = len(production.provider.calls(message))
    demand(
        calls <= replicas,
        f"{len(answers)} equal questions at once became {calls} calls; {replicas} replicas should pay for {replicas}.",
        answers[:1],
    )
    for answer in answers:
        expect(answer).status(200)


COSTLY_MORNING = Incident(
    name="costly-morning",
    kind="code",
    edits=(
        Edit(
            "service/app/cache.py",
            "        flight = self._flights.get(key)\n"
            "        if flight is None:\n"
            "            flight = self._flights[key] = asyncio.create_task(self._find_or_ask(key, caller, prompt))\n"
            "            flight.add_done_callback(partial(self._landed, key))\n"
            "        return await asyncio.shield(flight)\n",
            "        return await self._find_or_ask(key, caller, prompt)\n",
        ),
        Edit(
            "service/app/cache.py",
            "Return the answer; whoever asks the same in the meantime waits for it, and nobody's leaving stops it.",
            "Return the answer.",
        ),
        Edit("production.toml", "CACHE_TTL_S = 3600", "CACHE_TTL_S = 15"),
    ),
    prove=prove_one_flight,
    habits={"visitors": 16, "flock": 12},
    replay={"LLM_TIMEOUT_S": str(PATIENCE)},
)

TURNS = 15
SPREAD = 3
"""How many times larger the largest prompt may be than the smallest: the last two questions may be sent along."""


def prove_prompts_stay_small(production: Production) -> None:
    """Fifteen questions of about the same length cost about the same prompt, and hold no other customer's words."""
    api, provider = production.first, production.provider
    mine, other = nonce(), nonce()
    talker = api.new_caller()
    for number in range(TURNS):
        expect(talker.chat(f"{mine} {number}: {' '.join(nonce(6) for _ in range(30))}")).status(200)
    sizes = [call.prompt_tokens for call in provider.calls(mine)]
    demand(
        len(sizes) >= TURNS, f"{TURNS} questions became {len(sizes)} calls whose last user message was the question."
    )
    demand(
        max(sizes) <= SPREAD * min(sizes),
        f"Of {TURNS} questions of the same length one had {min(sizes)} prompt tokens and another one {max(sizes)}.",
    )
    expect(api.new_caller().chat(f"{other} and something else")).status(200)
    sent = [json.dumps(dict(call.request)) for call in provider.calls(other)]
    demand(
        not any(mine in text for text in sent), "The model was sent one customer's words with another one's question."
    )


EXPENSIVE_TALK = Incident(
    name="expensive-talk",
    kind="code",
    edits=(
        Edit(
            "service/app/model.py",
            "def conversation(prompt: Prompt) -> list[BaseMessage]:",
            "def conversation(prompt: Prompt, so_far: list[BaseMessage] = []) -> list[BaseMessage]:",
        ),
        Edit(
            "service/app/model.py",
            "    return [SystemMessage(prompt.system), HumanMessage(prompt.text)]",
            "    so_far.append(HumanMessage(prompt.text))\n    return [SystemMessage(prompt.system), *so_far]",
        ),
    ),
    prove=prove_prompts_stay_small,
)
