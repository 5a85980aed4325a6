"""HTML: one page that can be kept, printed or mailed, and the same as a fragment for a notebook's cell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from grader.formats import sentences
from grader.formats.curl import curl_lines
from grader.formats.element import element, markup
from grader.formats.svg import draw, number
from grader.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from xml.etree.ElementTree import Element

    from grader.chart import Chart
    from grader.formats import View
    from grader.report import CheckResult, ExchangeRecord, LabResult, Report, StartProblem

_BRIEF = re.compile(r"(labs/\w+\.md)")
STYLE = Path(__file__).with_name("report.css")
_INSIDE = re.compile(r"[\w./#%-]+")
"""What a link into the repository looks like; anything else stays text."""


def render(report: Report, view: View) -> str:
    """Give the report as a page of its own, without scripts and without anything to load."""
    title = f"{sentences.points(report)} · {report.submission or 'grade report'}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        _style(),
    )
    body = element("body", element("main", _article(report, view, 1)))
    return f"<!doctype html>\n{markup(element('html', head, body, lang='en'))}\n"


def fragment(report: Report, view: View) -> str:
    """Give the report for a place inside another page; its text must have been made visible."""
    return markup(element("div", _style(), _article(report, view, 3)))


def _style() -> Element:
    return element("style", STYLE.read_text(encoding="utf-8"))


def _article(report: Report, view: View, level: int) -> Element:
    return element(
        "article",
        _header(report, level),
        _problem(report.problem) if report.problem else None,
        _next(report, view),
        _overview(report) if len(report.labs) > 1 else None,
        (_lab(lab, report, view, level + 1) for lab in report.labs),
        (_chart(chart, level + 1) for chart in report.charts),
        _footer(report),
        class_="grade-report",
    )


def _header(report: Report, level: int) -> Element:
    when = report.started_at.strftime("%d %B %Y, %H:%M %Z").lstrip("0")
    return element(
        "header",
        element("p", f"{report.submission} · {when}".removeprefix(" · "), class_="where"),
        element(f"h{level}", sentences.points(report).capitalize(), " ", _badge(report.outcome)),
        _bar(report.points, report.max_points, "points"),
        element("p", sentences.verdict(report)),
        (
            element("p", line)
            for line in filter(None, [sentences.undecided(report), *report.notes, sentences.bill(report)])
        ),
    )


def _bar(part: float, whole: float, name: str) -> Element:
    return element("progress", f"{part:g} of {whole:g}", value=part, max=whole or 1, aria_label=name)


def _badge(outcome: Outcome) -> Element:
    return element("span", f"{sentences.MARKS[outcome]} {outcome.value}", class_=f"badge {outcome.value}")


def _problem(problem: StartProblem) -> Element:
    return element(
        "section",
        element("p", element("strong", problem.cause)),
        element("p", element("code", problem.place)) if problem.place else None,
        _pre(problem.detail.splitlines()),
        element("p", problem.remedy) if problem.remedy else None,
        _folded("What the service last said", _pre(problem.log), unfold=True) if problem.log else None,
        class_="problem",
    )


def _next(report: Report, view: View) -> Element:
    steps = (element("li", _linked(sentences.capital(step), view)) for step in sentences.next_steps(report, view))
    return element("section", element("strong", "Next"), element("ul", steps), class_="next")


def _overview(report: Report) -> Element:
    rows = (
        element(
            "tr",
            element("td", str(lab.number)),
            element("td", element("a", lab.title, href=f"#lab-{lab.number}")),
            element("td", _badge(lab.outcome)),
            element("td", _bar(lab.points, lab.max_points, f"points of lab {lab.number}")),
            element("td", f"{lab.points}/{lab.max_points}", class_="number"),
        )
        for lab in report.labs
    )
    heads = (element("th", name, scope="col") for name in ("Lab", "Title", "Outcome", "", "Points"))
    return element("table", element("thead", element("tr", heads)), element("tbody", rows), class_="overview")


def _lab(lab: LabResult, report: Report, view: View, level: int) -> Element:
    first = report.first_blocking
    return element(
        "section",
        element(f"h{level}", f"Lab {lab.number} · {lab.title} ", element("small", sentences.points(lab))),
        (_check(check, view, unfold=check is first) for check in lab.checks),
        id=f"lab-{lab.number}",
    )


def _check(check: CheckResult, view: View, *, unfold: bool) -> Element:
    summary = (
        _badge(check.outcome),
        element("span", check.promise, class_="promise"),
        element("span", sentences.score(check), class_="number"),
    )
    body = list(_evidence(check, view))
    if not body:
        return element("div", summary, class_="check")
    return element(
        "details", element("summary", summary), element("div", body, class_="evidence"), class_="check", open=unfold
    )


def _evidence(check: CheckResult, view: View) -> Iterator[Element]:
    if check.message:
        yield element("p", element("strong", check.message))
    before = [part for exchange in check.exchanges[:-1] for part in _exchange(exchange)]
    if before:
        told = ", ".join(sentences.earlier(check))
        yield _folded(f"Before that: {told}", element("div", before))
    for exchange in check.exchanges[-1:]:
        yield from _exchange(exchange)
    if check.log:
        yield _folded("The service's log of it", _pre(check.log), unfold=True)
    if check.facts:
        yield element("ul", (element("li", fact) for fact in check.facts))
    if check.section and check.outcome is not Outcome.PASSED:
        yield element("p", "Read ", _link(check.section, view))
    for index, hint in enumerate(check.hints[: view.hints.get((check.lab, check.name), 0)], 1):
        yield _folded(sentences.hint_heading(index, check).capitalize(), element("p", hint))


def _exchange(exchange: ExchangeRecord) -> Iterator[Element]:
    headers = [f"{name}: {value}" for name, value in exchange.response_headers.items()]
    yield element("p", "Sent", class_="label")
    yield element("pre", "\n".join(curl_lines(exchange.curl, 96)), class_="copy", tabindex=0)
    yield element("p", "Got ", element("strong", sentences.answered(exchange)), class_="label")
    if headers:
        yield _folded(sentences.count(len(headers), "header"), _pre(headers))
    if exchange.response:
        yield element("pre", exchange.response, tabindex=0)


def _linked(step: str, view: View) -> list[Element | str]:
    """Make links of the briefs that a sentence names."""
    return [_link(part, view) if _BRIEF.fullmatch(part) else part for part in _BRIEF.split(step)]


def _link(section: str, view: View) -> Element:
    if _INSIDE.fullmatch(section):
        return element("a", section, href=f"{view.base}{section}")
    return element("code", section)


def _pre(lines: Iterable[str]) -> Element | None:
    text = "\n".join(lines)
    return element("pre", text, tabindex=0) if text else None


def _folded(title: str, content: Element | None, *, unfold: bool = False) -> Element:
    return element("details", element("summary", title), content, open=unfold)


def _chart(chart: Chart, level: int) -> Element:
    return element(
        "section",
        element(f"h{level}", chart.title),
        element("figure", draw(chart), element("figcaption", chart.sentence)),
        _folded("The numbers", _numbers(chart)),
        class_="chart-section",
    )


def _numbers(chart: Chart) -> Element:
    slots = chart.labels or [f"{number(a)} to {number(b)}" for a, b in zip(chart.edges, chart.edges[1:], strict=False)]
    heads = (element("th", name, scope="col") for name in (chart.unit, *(series.name for series in chart.series)))
    rows = (
        element(
            "tr",
            element("th", slot, scope="row"),
            (element("td", number(series.values[index]), class_="number") for series in chart.series),
        )
        for index, slot in enumerate(slots)
    )
    return element("table", element("thead", element("tr", heads)), element("tbody", rows))


def _footer(report: Report) -> Element:
    guards = [f"{name}: {state}" for name, state in report.guards.items()]
    return element(
        "footer",
        element("p", f"{sentences.times(report)} · seed {report.seed}"),
        [element("p", "Repeat", class_="label"), element("pre", report.command, class_="copy")]
        if report.command
        else None,
        _folded("Guards", element("ul", (element("li", guard) for guard in guards))) if guards else None,
    )
