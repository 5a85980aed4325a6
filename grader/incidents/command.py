"""`course incident …`: the drill's desk. Each subcommand takes the words after its name and returns an exit code."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from grader import workspace
from grader.cli import Parser
from grader.expectation import Broken
from grader.incidents import diagnosis, look, scene
from grader.incidents.case import CASES, FOUND_POINTS, MENDED_POINTS, Case
from grader.incidents.catalogue import INCIDENTS, named
from grader.incidents.choice import case_named, case_of
from grader.incidents.plan import BadPlanError
from grader.parts import PartFailedError, PartMissingError
from grader.service import StartFailedError
from grader.submission import BadSubmissionError, Submission
from grader.supervisor import SupervisorError

MINUTES = 60.0
"""For how long production runs when nobody ends it."""

PROBLEMS = (
    scene.RunningError,
    scene.NotRunningError,
    BadPlanError,
    BadSubmissionError,
    PartMissingError,
    PartFailedError,
    SupervisorError,
)


def main(words: Sequence[str]) -> int:
    """Do what the first word names."""
    if not words or words[0] in {"-h", "--help"}:
        print(_usage())
        return 0 if words else 2
    name, *rest = words
    parser = Parser(prog="course incident", usage="course incident COMMAND …")
    if name not in COMMANDS and name not in TOOLS:
        parser.error(f"there is no command {name}; there are {', '.join([*COMMANDS, *TOOLS])}")
    try:
        return COMMANDS[name][0](rest) if name in COMMANDS else _look(name, rest)
    except PROBLEMS as problem:
        parser.error(str(problem))


def _usage() -> str:
    told = [f"  {name:<11} {what}" for name, (_, what) in COMMANDS.items()]
    tools = [f"  {name:<11} {what}" for name, (_, what) in TOOLS.items()]
    first = "A production with a hidden fault: find it from evidence, mend it, prove it.\n"
    return "\n".join(
        ["usage: course incident COMMAND …\n", first, *told, "\nwhile production runs, from another terminal:", *tools]
    )


def _look(name: str, words: Sequence[str]) -> int:
    """Use one of on-call's tools, and write down when."""
    seen = scene.current()
    Case(named(seen.incident)).note("looked", " ".join([name, *words])[:200])
    return TOOLS[name][0](seen, words)


def show(words: Sequence[str]) -> int:
    """List the incidents and where the learner stands."""
    Parser(prog="course incident list", description="List the incidents and how you stand.").parse_args(words)
    total = 0
    for incident in INCIDENTS:
        case = Case(incident)
        total += case.points
        state = ["found"] * case.found + ["mended"] * case.mended or ["open" if case.is_laid_out else ""]
        kind = incident.kind if case.found else ""
        told = f"{' and '.join(state):<17} {case.points or '':>2}  {kind}"
        print(f"  {incident.name:<16} {incident.story.title:<58} {told}".rstrip())
    print(f"{total} of {(FOUND_POINTS + MENDED_POINTS) * len(INCIDENTS)} points. course incident start NAME begins.")
    return 0


def start(words: Sequence[str]) -> int:
    """Run a production with a fault, in the foreground."""
    parser = Parser(prog="course incident start", description="Run a production with a hidden fault, until Ctrl-C.")
    parser.add_argument("name", metavar="NAME", help="course incident list shows them")
    parser.add_argument(
        "--minutes", type=_minutes, default=MINUTES, help=f"end it after so long (default: {MINUTES:.0f})"
    )
    parser.add_argument("--anew", action="store_true", help="with a fresh copy; yours is kept beside it")
    options = parser.parse_args(words)
    case = case_named(parser, options.name)
    if options.anew and (aside := case.set_aside()):
        print(f"Your copy is kept in {workspace.short(aside)}.")
    from grader.incidents import drill  # noqa: PLC0415  # starts servers
    from grader.incidents.proof import unstarted  # noqa: PLC0415

    print(f"Starting production; the code is in {CASES / case.incident.name}. It takes some seconds.", flush=True)
    try:
        drill.run(case, options.minutes)
    except StartFailedError as failed:
        parser.error(unstarted(failed))
    except Broken as broken:  # what the drill itself asked for was not answered
        parser.error(broken.message)
    return 0


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 24 * 60:
        raise ValueError(text)
    return minutes


def status(words: Sequence[str]) -> int:
    """Show the page again, and what was done so far."""
    parser = Parser(prog="course incident status", description="Show the page again and what you have done so far.")
    case = case_of(parser, words)
    seen = _running(case)
    if seen:
        from grader.incidents.drill import page  # noqa: PLC0415  # as above

        print(page(case, seen), end="\n\n")
    else:
        print(f"{case.incident.story.title}. It does not run: course incident start {case.incident.name}", end="\n\n")
    for event in case.events():
        print(f"{event.at.astimezone():%H:%M:%S}  {event.what:<12} {event.detail}".rstrip())
    seconds = case.seconds_to_evidence
    told = "not yet" if seconds is None else f"{seconds:.0f} s after the page"
    print(f"First useful evidence: {told} (shown, not scored). {case.points} of {FOUND_POINTS + MENDED_POINTS} points.")
    return 0


def _running(case: Case) -> scene.Scene | None:
    try:
        seen = scene.current()
    except scene.NotRunningError:
        return None
    return seen if seen.incident == case.incident.name else None


def prove(words: Sequence[str]) -> int:
    """Run the learner's copy under the same fault and traffic."""
    case = case_of(
        Parser(prog="course incident prove", description="Prove your mend under the same fault and traffic."), words
    )
    if not case.is_laid_out:
        print(f"There is nothing to prove yet: course incident start {case.incident.name}")
        return 2
    from grader.incidents import proof  # noqa: PLC0415  # starts servers
    from grader.workshop import start_workshop  # noqa: PLC0415

    print(f"Starting {workspace.short(case.folder)} under the same fault and traffic …", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="proof-") as folder,
        start_workshop(Path(folder), seed=0) as workshop,
        workshop.bench(Submission.at(case.folder / "service"), "proof") as bench,
    ):
        result = proof.prove(case.incident, case.folder, bench)
    case.note(result.outcome, result.message)
    print(f"{result.outcome.capitalize()}: {result.message}")
    for exchange in result.exchanges[:1]:
        print(f"  {exchange}: {exchange.text[:300]}")
    if result.outcome == "mended":
        print(f"{case.points} of {FOUND_POINTS + MENDED_POINTS} points. Next: course incident postmortem")
    return {"mended": 0, "not mended": 1, "inconclusive": 2}[result.outcome]


def postmortem(words: Sequence[str]) -> int:
    """Write the postmortem with what the journal knows."""
    parser = Parser(prog="course incident postmortem", description="Write a blameless postmortem to fill in.")
    from grader.incidents.postmortem import write  # noqa: PLC0415  # draws a chart

    path = write(case_of(parser, words))
    print(f"{workspace.short(path)} is yours to fill in; times and figures are in it.")
    return 0


def stop(words: Sequence[str]) -> int:
    """End the production that runs in another terminal."""
    Parser(prog="course incident stop", description="End the production that runs in another terminal.").parse_args(
        words
    )
    if scene.stop(scene.current()):
        print("Production has ended.")
        return 0
    print("Production has not ended yet; look at its terminal.")
    return 1


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "list": (show, "list the incidents and how you stand"),
    "start": (start, "run a production with a hidden fault, until Ctrl-C"),
    "status": (status, "show the page again and what you have done so far"),
    "hint": (diagnosis.hint, "show one more hint"),
    "causes": (diagnosis.causes, "list what could explain the page"),
    "found": (diagnosis.found, "name the cause"),
    "prove": (prove, "prove your mend under the same fault and traffic"),
    "postmortem": (postmortem, "write a blameless postmortem to fill in"),
    "solution": (diagnosis.solution, "tell the cause and a mend"),
    "stop": (stop, "end the production that runs in another terminal"),
}
TOOLS: dict[str, tuple[Callable[[scene.Scene, Sequence[str]], int], str]] = {
    "health": (look.health, "ask every replica for its probes"),
    "metrics": (look.metrics, "show the replicas' metrics side by side"),
    "logs": (look.logs, "show the last log lines of replicas and worker"),
    "bill": (look.bill, "show the provider's bill and its latest calls"),
    "redis": (look.redis_command, "send Redis a command"),
    "sql": (look.sql, "run a statement in the database"),
    "dump": (look.dump, "show where each thread of a process stands"),
}
