"""Sentences: what every format says in the same words."""

from __future__ import annotations

from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING

from grader.report import OWN_MACHINE, Outcome

if TYPE_CHECKING:
    from grader.formats import View
    from grader.report import CheckResult, ExchangeRecord, LabResult, Report

MARKS = {
    Outcome.PASSED: "✓",
    Outcome.FAILED: "✗",
    Outcome.SKIPPED: "–",
    Outcome.INCONCLUSIVE: "?",
    Outcome.ERROR: "!",
}
WORDS = {
    Outcome.PASSED: "pass",
    Outcome.FAILED: "FAIL",
    Outcome.SKIPPED: "skip",
    Outcome.INCONCLUSIVE: "unsure",
    Outcome.ERROR: "error",
}
SIGNS = "✓✗–—·→×…“”‘’"
ASCII = str.maketrans(SIGNS, "+x--.>x~\"\"''")
"""Sign for sign what terminals show whose encoding lacks ours."""


def signs_fit(encoding: str | None) -> bool:
    """Whether a stream of this encoding can show our signs."""
    try:
        SIGNS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def count(number: int, noun: str) -> str:
    """`1 check`, `2 checks`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def capital(sentence: str) -> str:
    """Begin a sentence that may follow a colon with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def points(judged: Report | LabResult | CheckResult) -> str:
    """`3 of 12 points`."""
    return f"{judged.points} of {count(judged.max_points, 'point')}"


def score(check: CheckResult) -> str:
    """`0/3`; nothing for a guard, a dash for points that were not decided."""
    if not check.max_points:
        return ""
    return f"{check.points if check.counted else '–'}/{check.max_points}"


def verdict(report: Report) -> str:
    """Say how the run ended."""
    total = len(report.checks)
    if report.problem:
        return f"Could not grade: {' '.join(report.problem.cause.split())}"
    if report.outcome is Outcome.PASSED and report.count(Outcome.PASSED) == total:
        return f"All {count(total, 'check')} passed."
    counts = [
        f"{report.count(outcome)} {name}"
        for outcome, name in (
            (Outcome.FAILED, "failed"),
            (Outcome.SKIPPED, "skipped"),
            (Outcome.INCONCLUSIVE, "inconclusive"),
            (Outcome.ERROR, "could not be run"),
        )
        if report.count(outcome)
    ]
    return (
        f"{report.count(Outcome.PASSED)} of {count(total, 'check')} passed"
        + "".join(f", {each}" for each in counts)
        + "."
    )


def undecided(report: Report) -> str:
    """Say what became of points that nobody could decide, if there are any."""
    if not report.undecided_points:
        return ""
    return f"{count(report.undecided_points, 'point')} were not decided and are left out: they cost you nothing."


def bill(report: Report) -> str:
    """Say what the traffic cost, if the provider kept a bill."""
    if not report.bill:
        return ""
    cost = f"This run's traffic cost {dollars(report.bill['price_usd'])}"
    without = report.bill.get("without_cache_usd")
    return f"{cost}; without the cache {dollars(without)}." if without is not None else f"{cost}."


def dollars(price: float) -> str:
    """`$0.0123`: four decimals, because a token costs so little."""
    return f"${price:.4f}"


def times(report: Report) -> str:
    """`9.3 s: start 1.2 s, checks 8.1 s`."""
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.phases.items())
    return f"{report.seconds:.1f} s" + (f": {parts}" if parts else "")


def answered(exchange: ExchangeRecord) -> str:
    """`429 Too Many Requests after 12 ms`, or why there was no answer."""
    after = f"after {exchange.seconds:.1f} s" if exchange.seconds >= 1 else f"after {exchange.seconds * 1000:.0f} ms"
    if exchange.status is None:
        return f"no answer {after}: {exchange.error or 'the connection was closed'}"
    status = f"{exchange.status} {_phrase(exchange.status)}".strip()
    return f"{status} {after}" + (f", then {exchange.error}" if exchange.error else "")


def earlier(check: CheckResult) -> list[str]:
    """Sum up the requests before the last one: `10 × POST /chat → 200`."""
    told = [(each.request, each.status or "no answer") for each in check.exchanges[:-1]]
    return [f"{len(list(same))} × {request} → {status}" for (request, status), same in groupby(told)]


def hint_heading(number: int, check: CheckResult) -> str:
    """`hint 1/3`."""
    return f"hint {number}/{len(check.hints)}"


def next_steps(report: Report, view: View) -> list[str]:
    """Say what to do now, the most useful thing first."""
    if report.problem:
        return _after_problem(report)
    if report.first_blocking:
        return _after_failure(report, report.first_blocking, view)
    if report.outcome is Outcome.PASSED:
        return (
            [f"open labs/{view.following}.md, then run: {command(view.following[:2].lstrip('0'), view)}"]
            if view.following
            else ["nothing is left to mend here."]
        )
    if report.outcome is Outcome.ERROR:
        return ["this is a fault of the grader or the machine, not of your service. Run: grade doctor"]
    if report.outcome is Outcome.INCONCLUSIVE:
        return [f"run it again when the machine is less busy: {report.command}"]
    return ["nothing was graded; choose labs with: grade list"]


def command(labs: str, view: View, *options: str) -> str:
    """Give a command to copy, for the same service as this run."""
    return " ".join(filter(None, ["grade", labs, *options, view.service]))


def _after_problem(report: Report) -> list[str]:
    steps = [report.problem.remedy] if report.problem and report.problem.remedy else []
    return [*steps, f"then run again: {report.command}" if steps else f"mend it and run again: {report.command}"]


def _after_failure(report: Report, check: CheckResult, view: View) -> list[str]:
    lab = next(each for each in report.labs if each.number == check.lab)
    steps = [f"mend the first failed check of lab {lab.number}; its brief is labs/{lab.stem}.md"]
    left = len(check.hints) - view.hints.get((check.lab, check.name), 0)
    if left > 0:
        steps.append(f"stuck? {command(str(lab.number), view, '--hint')} ({count(left, 'hint')} left)")
    return steps


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def guards(report: Report, *, verbose: bool) -> list[str]:
    """Say what kept the service in: everything, or only that isolation was asked for or switched off."""
    if verbose:
        return [f"guard {name}: {state}" for name, state in report.guards.items()]
    isolation = report.guards.get("isolation", OWN_MACHINE)
    return [] if isolation == OWN_MACHINE else [f"isolation: {isolation}"]
