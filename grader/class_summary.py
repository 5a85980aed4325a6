"""Class summary: what a class did, as a table for programs (CSV) and as a page."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from grader.formats import sentences
from grader.formats.element import element, markup
from grader.formats.html import STYLE
from grader.formats.visible import visible
from grader.report import Outcome

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from grader.classroom import Row
    from grader.report import CheckResult, Report

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Hurdle:
    """A check, and how many of those who were judged by it failed it."""

    lab: int
    name: str
    promise: str
    failed: int
    judged: int


def hurdles(rows: Iterable[Row]) -> list[Hurdle]:
    """Return the checks that somebody failed, the highest share first. Skipped and undecided ones judge nobody."""
    results: dict[tuple[int, str], list[CheckResult]] = {}
    for report in _reports(rows):
        for check in report.checks:
            results.setdefault((check.lab, check.name), []).append(check)
    found = []
    for (lab, name), checks in results.items():
        judged = [check for check in checks if check.outcome in {Outcome.PASSED, Outcome.FAILED}]
        failed = sum(check.outcome is Outcome.FAILED for check in judged)
        if failed:
            found.append(Hurdle(lab, name, checks[0].promise, failed, len(judged)))
    return sorted(found, key=lambda each: (-each.failed / each.judged, -each.failed, each.lab))


def table(rows: Sequence[Row], labs: Sequence[int], total: int) -> str:
    """Write the class as CSV, one line a submission; names that a spreadsheet would compute are made text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = ("name", "outcome", "points", "max_points", "undecided_points", *(f"lab_{number}" for number in labs))
    writer.writerow([*columns, "failed_checks", "seconds", "isolation", "report", "cause"])
    for row in rows:
        writer.writerow([_text(str(value)) for value in _cells(row, labs, total)])
    return out.getvalue()


def _cells(row: Row, labs: Sequence[int], total: int) -> list[object]:
    report = row.report
    if report is None:
        return [row.name, "not graded", *[""] * (len(labs) + 7), row.cause]
    points = {lab.number: lab.points for lab in report.labs}
    most = total if report.problem else report.max_points
    start = [row.name, "did not start" if report.problem else report.outcome, report.points, most]
    failed = report.count(Outcome.FAILED)
    end = [failed, report.seconds, report.guards.get("isolation", ""), row.files[0], _cause(row)]
    return [*start, report.undecided_points, *(points.get(number, 0) for number in labs), *end]


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _cause(row: Row) -> str:
    problem = row.report and row.report.problem
    if not problem:
        return row.cause
    place = f" ({problem.place})" if problem.place else ""
    return " ".join(filter(None, [problem.cause, problem.detail])) + place


def page(rows: Sequence[Row], labs: Sequence[int], total: int) -> str:
    """Write the class as a page: how it went, what most of them failed, and everybody's report."""
    graded = _reports(rows)
    started = [report for report in graded if not report.problem]
    facts = [sentences.count(len(rows), "submission"), f"{len(graded)} graded", f"{len(rows) - len(graded)} not"]
    if started:
        middle = statistics.median(report.points for report in started)
        facts.append(f"half of those that start have {middle:g} of {total} points or more")
    body = element(
        "article",
        element("header", element("h1", "The class"), element("p", " · ".join(facts) + ".")),
        element("h2", "What most of them fail"),
        _hurdles(hurdles(rows)),
        element("h2", "Everybody"),
        _rows(rows, labs, total),
        class_="grade-report",
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", "The class"),
        element("style", STYLE.read_text(encoding="utf-8")),
    )
    return f"<!doctype html>\n{markup(element('html', head, element('body', element('main', body)), lang='en'))}\n"


def _hurdles(found: Sequence[Hurdle]) -> Element:
    if not found:
        return element("p", "Nobody failed anything.")
    lines = (
        element(
            "tr",
            element("td", f"{each.failed} of {each.judged}", class_="number"),
            element("td", str(each.lab), class_="number"),
            element("td", each.promise),
        )
        for each in found
    )
    return _table(("failed by", "lab", "check"), lines)


def _rows(rows: Sequence[Row], labs: Sequence[int], total: int) -> Element:
    lines = (element("tr", element("td", _link(row)), *_figures(row, labs, total)) for row in rows)
    return _table(("name", "points", *(f"lab {number}" for number in labs), "remark"), lines)


def _link(row: Row) -> Element | str:
    page = next((name for name in row.files if name.endswith(".html")), None)
    name = visible(row.name)
    return element("a", name, href=quote(f"reports/{page}")) if page else name


def _figures(row: Row, labs: Sequence[int], total: int) -> list[Element]:
    report = row.report
    points = {lab.number: f"{lab.points}/{lab.max_points}" for lab in report.labs} if report else {}
    most = total if report is None or report.problem else report.max_points
    figures = [f"{report.points}/{most}" if report else "", *(points.get(number, "") for number in labs)]
    cells = [element("td", figure, class_="number") for figure in figures]
    undecided = sentences.undecided(report) if report else ""
    return [*cells, element("td", visible(_cause(row)) or undecided or "")]


def _table(heads: Iterable[str], lines: Iterable[Element]) -> Element:
    return element(
        "table",
        element("thead", element("tr", (element("th", head, scope="col") for head in heads))),
        element("tbody", lines),
    )


def _reports(rows: Iterable[Row]) -> list[Report]:
    return [row.report for row in rows if row.report]
