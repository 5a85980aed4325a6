"""Markdown: the report for pull requests and step summaries."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from grader.formats import sentences
from grader.formats.curl import curl_lines
from grader.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from grader.formats import View
    from grader.report import CheckResult, LabResult, Report, StartProblem

MOST_CHARACTERS = 60_000
"""A comment on GitHub holds 65,536 characters; evidence beyond this is left out, and that is said."""

_MARKUP = re.compile(r"([\\`*_{}\[\]#.|~@:$])")


def render(report: Report, view: View) -> str:
    """Give the report as GitHub-flavoured Markdown; whatever a service said stands in code blocks."""
    parts = ["".join(_head(report))]
    left_out = 0
    for part in _evidence(report):
        if sum(map(len, parts)) + len(part) < MOST_CHARACTERS:
            parts.append(part)
        else:
            left_out += 1
    if left_out:
        parts.append(
            f"\nThe evidence of {sentences.count(left_out, 'more check')} is left out; the JSON report has it.\n"
        )
    return "".join(parts) + "".join(_end(report, view))


def _head(report: Report) -> Iterator[str]:
    yield f"## {_sign(report.outcome)} · {sentences.points(report)}\n\n{_text(sentences.verdict(report))}\n\n"
    if report.problem:
        yield _problem(report.problem)
    if report.labs:
        yield "| Lab | Outcome | Points |\n|---|---|--:|\n"
        yield from (_lab_row(lab) for lab in report.labs)
    for line in filter(None, [sentences.undecided(report), *report.notes, sentences.bill(report)]):
        yield f"\n{_text(line)}\n"


def _lab_row(lab: LabResult) -> str:
    return f"| {lab.number} · {_text(lab.title)} | {_sign(lab.outcome)} | {lab.points}/{lab.max_points} |\n"


def _evidence(report: Report) -> Iterator[str]:
    for check in report.checks:
        if check.outcome is not Outcome.PASSED:
            yield _check(check)


def _check(check: CheckResult) -> str:
    title = f"{_sign(check.outcome)} · lab {check.lab} · {html.escape(check.promise)} {sentences.score(check)}".strip()
    body = _fence([check.message])
    for exchange in check.exchanges[-1:]:
        lines = [f"{name}: {value}" for name, value in exchange.response_headers.items()]
        body += f"\nSent:\n\n{_fence(curl_lines(exchange.curl, 100), 'sh')}"
        body += f"\nGot:\n\n{_fence([sentences.answered(exchange), *lines, exchange.response])}"
    if check.log:
        body += f"\nThe service's log:\n\n{_fence(check.log)}"
    read = f"\nRead {_text(check.section)}\n" if check.section else ""
    return f"\n<details><summary>{title}</summary>\n\n{body}{read}\n</details>\n"


def _problem(problem: StartProblem) -> str:
    lines = _fence([problem.place, problem.detail, *problem.log])
    return f"{lines}\n{_text(problem.remedy)}\n\n" if problem.remedy else f"{lines}\n"


def _end(report: Report, view: View) -> Iterator[str]:
    yield f"\n{_text(sentences.times(report))} · seed {report.seed}\n"
    if report.command:
        yield f"\nRepeat:\n\n{_fence([report.command], 'sh')}"
    yield "\n**Next**\n\n"
    yield from (f"- {_text(sentences.capital(step))}\n" for step in sentences.next_steps(report, view))


def _sign(outcome: Outcome) -> str:
    return f"{sentences.MARKS[outcome].replace('!', '⚠')} {outcome.value}"


def _text(text: str) -> str:
    """Write text so that nothing in it is markup, a mention or a link."""
    return html.escape(_MARKUP.sub(r"\\\1", " ".join(text.split())), quote=False).replace("\\@", "@\u200b")


def _fence(lines: Iterable[str], language: str = "text") -> str:
    """Put lines in a code block that nothing in them can end."""
    body = "\n".join(line for line in lines if line)
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body}\n{fence}\n" if body else ""
