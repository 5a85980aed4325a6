"""Proof: the same fault and the same traffic again, on what the learner has made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from grader.expectation import Broken, Inconclusive, Skip, demand, expect
from grader.incidents.plan import BadPlanError, Plan
from grader.incidents.production import Production, running
from grader.messages import new_message
from grader.parts import PartFailedError, PartMissingError
from grader.service import StartFailedError
from grader.submission import BadSubmissionError

if TYPE_CHECKING:
    from grader.bench import Bench
    from grader.exchange import Exchange
    from grader.incidents.incident import Incident


Outcome = Literal["mended", "not mended", "inconclusive"]


@dataclass(frozen=True)
class Proof:
    """What came of a proof, and what shows it."""

    outcome: Outcome
    message: str
    exchanges: tuple[Exchange, ...] = ()


def prove(incident: Incident, folder: Path, bench: Bench) -> Proof:
    """Run a case's production under the incident's fault and traffic, on the servers of a bench."""
    try:
        plan = Plan.read(folder)
        with running(bench, folder, plan, incident.replay) as production:
            still_serves(production)
            if incident.disturb:
                incident.disturb(production)
            incident.prove(production)
    except Broken as broken:
        return Proof("not mended", broken.message, broken.exchanges)
    except (BadPlanError, BadSubmissionError) as problem:
        return Proof("not mended", str(problem))
    except StartFailedError as failed:
        return Proof("not mended", unstarted(failed))
    except (Inconclusive, Skip, PartMissingError, PartFailedError) as unsure:
        return Proof("inconclusive", str(unsure))
    return Proof("mended", incident.promise)


def unstarted(failed: StartFailedError) -> str:
    """Say in a sentence why a production does not start."""
    problem = failed.problem
    where = f" ({problem.place})" if problem.place else ""
    return f"The service does not start: {problem.detail or problem.cause}{where}"


def still_serves(production: Production) -> None:
    """Ask for what no mend may cost: answers, the cache, logins, and a closed door for strangers."""
    api = production.first
    caller, message = api.new_caller(), new_message()
    expect(caller.chat(message)).status(200)
    again = caller.chat(message)
    expect(again).status(200).header("X-Cache", "HIT")
    demand(len(production.provider.calls(message)) == 1, "The same question again was paid for again.", [again])
    expect(api.token_caller(api.new_user()).get("/protected")).status(200)
    expect(api.anonymous.chat(message)).status(401)
    told, limit = again.headers.get("x-ratelimit-limit"), str(api.settings.limit)
    demand(told in {None, limit}, f"{again} with the limit {told}, and production's is {limit}.", [again])
