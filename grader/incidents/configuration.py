"""Incidents of settings, releases and what stands around the service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from grader.expectation import demand, expect
from grader.incidents.incident import Edit, Incident
from grader.messages import nonce
from grader.provider import Fault

if TYPE_CHECKING:
    from grader.incidents.production import Production

NOWHERE = "postgresql://lab:lab@127.0.0.1:9/lab"
"""A database that nobody can reach: port 9 is `discard`, which no machine of today runs."""


def lose_a_database(production: Production) -> None:
    """Cut one replica off from the database, as a wrong route or a full table of connections would."""
    production.replace(production.unlucky, DATABASE_URL=NOWHERE)


def prove_dead_replica_is_left_out(production: Production) -> None:
    """A replica that has lost its database gets no requests; every login and token works through the balancer."""
    lost = production.replicas[production.unlucky]
    production.balancer  # noqa: B018  # it starts, and looks at every replica
    out = production.leaves_out(production.unlucky)
    caller = production.through(production.first.token_caller(production.first.new_user()))
    answers = [caller.get("/protected") for _ in range(3 * len(production.replicas))]
    failed = [answer for answer in answers if answer.status != 200]
    demand(
        not failed,
        f"{len(failed)} of {len(answers)} requests with a good token failed behind the balancer: replica "
        f"{lost.url} cannot reach its database and still gets requests.",
        failed[:1],
    )
    demand(out, f"The balancer still counts {lost.url} as ready, which cannot reach its database.")
    expect(production.through(production.first.new_caller()).chat(nonce())).status(200)


ONE_IN_THREE = Incident(
    name="one-in-three",
    kind="configuration",
    edits=(Edit("production.toml", 'health = "/readyz" # replicas', 'health = "/livez" # replicas'),),
    disturb=lose_a_database,
    prove=prove_dead_replica_is_left_out,
)

TOKYO = {"TZ": "JST-9"}
"""Another machine with local time, so that to set the clock of one is no mend."""


def prove_time_has_no_zone(production: Production) -> None:
    """Tokens of every replica are good at every replica, whatever the time zones; expired ones are refused."""
    production.replace(production.unlucky, **TOKYO)
    now = int(time.time())
    user = production.first.new_user()
    for issuer in production.replicas:
        token = issuer.token(user)
        for judge in production.replicas:
            answer = judge.bearer(token).get("/protected")
            told = f"a token that {issuer.url} has just issued"
            expect(answer).status(200, because=told)
    for judge in production.replicas:
        for age in (600, 11 * 3600):
            old = judge.mint(user.username, iat=now - age - 60, exp=now - age)
            expect(judge.bearer(old).get("/protected")).status(401, because="the token has expired")


OUT_OF_TIME = Incident(
    name="out-of-time",
    kind="configuration",
    edits=(
        Edit("service/app/auth.py", "    now = int(time.time())\n", "    now = int(time.mktime(time.gmtime()))\n"),
        Edit(
            "production.toml",
            'name = "c"\nservice = "service"\n[replicas.env]\n',
            'name = "c"\nservice = "service"\n[replicas.env]\nTZ = "JST-9" # the machines in Tokyo\n',
        ),
    ),
    prove=prove_time_has_no_zone,
    habits={"work": 6},
)

FEW = 6


def prove_callers_do_not_share(production: Production) -> None:
    """Behind the balancer each customer, by key or by token, has an allowance of their own, whatever they claim."""
    api = production.first
    limit = api.settings.limit
    users = [api.token_caller(api.new_user()) for _ in range(2)]
    for caller in [*users, api.new_caller(), api.new_caller()]:
        here = production.through(caller)
        answers = [here.chat() for _ in range(2 * limit + 1)]
        passed = sum(answer.status == 200 for answer in answers)
        demand(
            passed >= limit,
            f"A customer's first {limit} requests through the balancer should pass; {passed} did.",
            [answer for answer in answers if answer.status != 200][:1],
        )
        demand(
            passed <= 2 * limit, f"{passed} of one customer's requests passed, with a limit of {limit}.", answers[-1:]
        )
        claimed = here.post("/chat", json={"message": nonce()}, headers={"X-Forwarded-For": "203.0.113.7"})
        expect(claimed).status(429, because="X-Forwarded-For is the client's own word")


CROWDED = Incident(
    name="crowded",
    kind="configuration",
    edits=(
        Edit(
            "service/app/limits.py",
            "    caller = caller_of(request).id\n",
            '    caller = request.client.host if request.client else ""\n',
        ),
    ),
    prove=prove_callers_do_not_share,
    habits={"visitors": 24},
    replay={"RATE_LIMIT_REQUESTS": str(FEW), "RATE_LIMIT_WINDOW_S": "600"},
)


def prove_all_replicas_ask_the_right_model(production: Production) -> None:
    """New questions are answered by LLM_MODEL at every replica, and by the fallback only when that fails."""
    primary = production.first.settings.env["LLM_MODEL"]
    for api in production.replicas:
        tag = nonce()
        answer = api.new_caller().chat(f"{tag} well")
        expect(answer).status(200)
        told = answer.json.get("model")
        demand(told == primary, f"{api.url} had {told} answer, and {primary} is well.", [answer])
        with production.provider.fault(Fault.status(500), f"{tag} ill", model=primary):
            expect(api.new_caller().chat(f"{tag} ill")).status(200).field("degraded", True)  # a value
        asked = {call.model for call in production.provider.calls(f"{tag} well")}
        demand(asked == {primary}, f"{api.url} asked {', '.join(sorted(asked))} where {primary} was well.")


ODD_ONE_OUT = Incident(
    name="odd-one-out",
    kind="configuration",
    versions=("canary",),
    edits=(
        Edit(
            "canary/app/resilience.py",
            "    names = settings.llm_model, settings.llm_fallback_model\n",
            "    names = settings.llm_fallback_model, settings.llm_model\n",
        ),
        Edit("production.toml", 'name = "c"\nservice = "service"\n', 'name = "c"\nservice = "canary" # 2.9\n'),
    ),
    prove=prove_all_replicas_ask_the_right_model,
    replay={"LLM_TIMEOUT_S": "20"},
)
