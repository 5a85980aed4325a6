"""Audit: the module's table of what production must and should have (section 1), each row proved or not."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grader.course import Course
from grader.report import CheckResult, Outcome, Report


@dataclass(frozen=True)
class Row:
    """One requirement. ``proof`` maps labs to the names of the checks that prove it; no names mean all of the lab's."""

    name: str
    reason: str
    must: bool
    proof: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


ROWS = (
    Row("RESTful API", "other programs can use it", True, {2: ()}),
    Row("Authentication", "you know who calls", True, {3: ()}),
    Row("Rate limiting", "nobody can use it up", True, {4: ()}),
    Row("Error handling", "failures are answers too", True, {7: ()}),
    Row(
        "Logging",
        "you can tell what happened",
        True,
        {6: ("lines_are_json", "access_records", "secrets_stay_out", "request_ids")},
    ),
    Row(
        "Monitoring",
        "you are told before your users tell you",
        True,
        {6: ("probes_when_all_is_well", "database_loss_is_seen", "metrics_can_be_scraped", "requests_are_counted")},
    ),
    Row("Documentation", "nobody has to ask you how", True, {1: ("documentation_is_served",)}),
    Row("Caching", "the same answer is not paid for twice", False, {5: ()}),
    Row("Queueing", "a spike waits instead of failing", False, {9: ()}),
    Row("Load balancing", "replicas act as one", False, {4: ("replicas_share_the_allowance",), 5: (), 9: ()}),
    Row("Auto-scaling", "capacity follows demand", False, {8: ()}),
    Row("Backup and recovery", "a lost disk is a bad hour, not the end", False, {8: ()}),
)


def audit(arguments: Sequence[str]) -> int:
    """Check the whole course and show how far the service is from production, row by row."""
    from grader.grade_command import grade_for_audit  # noqa: PLC0415  # --help must not pay for it

    parser = argparse.ArgumentParser("grade audit", description=audit.__doc__)
    parser.add_argument("--service", metavar="DIR", help="the folder of the service")
    options = parser.parse_args(arguments)
    built = [lab.number for lab in Course().labs]
    report = grade_for_audit(options.service, [number for number in built if number <= 9])
    if report.problem:
        print(f"The service did not start: {report.problem.cause} {report.problem.detail}".rstrip())
        print("`grade` tells more.")
        return 2
    print(table(report, built))
    return 0 if all(_state(row, report, built) == "proved" for row in ROWS) else 1


def table(report: Report, built: Sequence[int]) -> str:
    """Write the table of readiness for a report."""
    lines = []
    for must in (True, False):
        lines.append("Must have" if must else "\nShould have")
        lines += [_line(row, report, built) for row in ROWS if row.must is must]
    states = [_state(row, report, built) for row in ROWS]
    musts = [state for row, state in zip(ROWS, states, strict=True) if row.must]
    ready = "ready for production" if set(states) == {"proved"} else "not ready for production"
    summary = f"{musts.count('proved')} of {len(musts)} must-haves, {states.count('proved')} of {len(states)} in all"
    return "\n".join([*lines, f"\n{summary}: {ready}."])


def _line(row: Row, report: Report, built: Sequence[int]) -> str:
    state = _state(row, report, built)
    mark = {"proved": "✓ proved", "not built": "– not built", "unknown": "? unknown"}.get(state, "✗ open")
    return f"  {mark:<11}  {row.name:<20} {row.reason:<42} {_where(row, report)}".rstrip()


def _where(row: Row, report: Report) -> str:
    labs = ", ".join(str(number) for number in row.proof)
    open_checks = sum(one.outcome is not Outcome.PASSED for one in _results(row, report))
    more = f", {open_checks} checks open" if open_checks else ""
    return f"lab {labs}{more}"


def _results(row: Row, report: Report) -> list[CheckResult]:
    found = [one for one in report.checks if one.lab in row.proof and not one.waived]
    return [one for one in found if not row.proof[one.lab] or one.name in row.proof[one.lab]]


def _state(row: Row, report: Report, built: Sequence[int]) -> str:
    """``proved``, ``open``, ``unknown`` (inconclusive), or ``not built`` where the course has no such lab yet."""
    if any(number not in built for number in row.proof):
        return "not built"
    results = _results(row, report)
    if any(one.blocking for one in results) or not results:
        return "open"
    return "proved" if all(one.outcome is Outcome.PASSED for one in results) else "unknown"
