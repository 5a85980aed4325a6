"""JUnit: the report as XML for CI services, one test suite a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from grader.formats import sentences
from grader.report import Outcome

if TYPE_CHECKING:
    from grader.formats import View
    from grader.report import CheckResult, LabResult, Report

_SKIPPED = frozenset({Outcome.SKIPPED, Outcome.INCONCLUSIVE})


def render(report: Report, _view: View) -> str:
    """Give the report as JUnit XML; its text must have been made visible, since XML refuses control characters."""
    total = ET.Element("testsuites", _counts("grade", report.checks, report.seconds))
    if report.problem:
        total.set("errors", str(int(total.get("errors", "0")) + 1))
        total.set("tests", str(int(total.get("tests", "0")) + 1))
        total.append(_start(report))
    total.extend(_suite(lab, report) for lab in report.labs)
    ET.indent(total)
    return ET.tostring(total, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _start(report: Report) -> ET.Element:
    """A service that did not start is one test that erred."""
    problem = report.problem
    assert problem
    suite = ET.Element("testsuite", {"name": "start", "tests": "1", "failures": "0", "errors": "1", "skipped": "0"})
    _properties(suite, seed=report.seed)
    case = ET.SubElement(suite, "testcase", {"classname": "start", "name": "the service starts", "time": "0.000"})
    error = ET.SubElement(case, "error", {"message": problem.cause, "type": "error"})
    error.text = "\n".join(filter(None, [problem.place, problem.detail, problem.remedy, *problem.log]))
    return suite


def _suite(lab: LabResult, report: Report) -> ET.Element:
    seconds = lab.seconds or sum(check.seconds for check in lab.checks)
    suite = ET.Element("testsuite", _counts(f"Lab {lab.number}: {lab.title}", lab.checks, seconds))
    suite.set("timestamp", report.started_at.replace(microsecond=0, tzinfo=None).isoformat())
    points = {name: getattr(lab, name) for name in ("points", "max_points", "undecided_points")}
    _properties(suite, **points, seed=report.seed)
    suite.extend(_case(lab, check) for check in lab.checks)
    return suite


def _properties(suite: ET.Element, **values: int) -> None:
    properties = ET.SubElement(suite, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", {"name": name, "value": str(value)})


def _counts(name: str, checks: tuple[CheckResult, ...], seconds: float) -> dict[str, str]:
    return {
        "name": name,
        "tests": str(len(checks)),
        "failures": str(sum(check.outcome is Outcome.FAILED for check in checks)),
        "errors": str(sum(check.outcome is Outcome.ERROR for check in checks)),
        "skipped": str(sum(check.outcome in _SKIPPED for check in checks)),
        "time": f"{seconds:.3f}",
    }


def _case(lab: LabResult, check: CheckResult) -> ET.Element:
    case = ET.Element("testcase", {"classname": f"lab_{lab.stem}", "name": check.name, "time": f"{check.seconds:.3f}"})
    if check.outcome in _SKIPPED:
        ET.SubElement(case, "skipped", {"message": _reason(check)})
    elif check.outcome is not Outcome.PASSED:
        tag = "failure" if check.outcome is Outcome.FAILED else "error"
        ET.SubElement(case, tag, {"message": check.message or check.promise, "type": tag}).text = _evidence(check)
    if check.log:
        ET.SubElement(case, "system-out").text = "\n".join(check.log)
    return case


def _reason(check: CheckResult) -> str:
    return f"inconclusive: {check.message}" if check.outcome is Outcome.INCONCLUSIVE else check.message


def _evidence(check: CheckResult) -> str:
    lines = [f"Promise: {check.promise}", f"Found: {check.message}"]
    for exchange in check.exchanges:
        lines += [f"$ {exchange.curl}", sentences.answered(exchange), exchange.response]
    return "\n".join(filter(None, [*lines, check.section and f"Read: {check.section}"]))
