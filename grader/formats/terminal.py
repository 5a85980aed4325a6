"""Terminal: the report a learner reads, plain or in colour, at any width."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import chop_cells
from rich.console import Console
from rich.text import Text

from grader.formats import sentences
from grader.formats.curl import curl_lines
from grader.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from grader.formats import View
    from grader.report import CheckResult, ExchangeRecord, LabResult, Report, StartProblem

STYLES = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "bold red",
    Outcome.SKIPPED: "dim",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.ERROR: "bold magenta",
}
MOST_LINES = 8
"""How many lines of a log or an answer are shown unless all is asked for."""
MOST_ROWS = 4
"""How many rows of the screen one such line may take."""
DULL = frozenset({"date", "server", "content-length", "connection", "vary", "transfer-encoding"})
"""Headers that are shown only when all is asked for."""
NARROW = 60
"""Below this many columns details stand under their label, not beside it."""


def render(report: Report, view: View) -> str:
    """Give the report as plain text without a single control code."""
    stream = io.StringIO()
    show(report, view, Console(file=stream, width=view.width, color_system=None, force_terminal=False))
    return stream.getvalue()


def show(report: Report, view: View, console: Console) -> None:
    """Print the report; its text must have been made visible."""
    page = Page(console, view)
    for lab in report.labs:
        page.lab(lab)
    if report.problem:
        page.problem(report.problem)
    if len(report.labs) > 1:
        page.overview(report)
    page.ending(report)


@dataclass(frozen=True)
class Page:
    """Lines on a console, with hanging indents; long lines are wrapped here, never cut by the terminal."""

    console: Console
    view: View

    @property
    def width(self) -> int:
        """Columns to write in; a terminal of ten columns is written to as if it had twenty."""
        return max(self.console.width, 20)

    @property
    def indent(self) -> int:
        """Where the details of a check begin."""
        return 6 if self.width >= NARROW else 2

    def lab(self, lab: LabResult) -> None:
        """Print a lab: its points, one line a check, and the first failing check in full."""
        title = Text.assemble((f"Lab {lab.number} · {lab.title}", "bold"), f" · {sentences.points(lab)}")
        self._hang(Text(), title)
        told = ""
        for check in lab.checks:
            full = self.view.verbose or check is lab.first_blocking
            self._check(check, full=full, why=check.message if check.message != told else "")
            told = check.message
        self._line()

    def problem(self, problem: StartProblem) -> None:
        """Print the one explanation of a service that did not start."""
        self._hang(Text("! error  ", STYLES[Outcome.ERROR]), Text(problem.cause, "bold"))
        self._labelled("where", [problem.place])
        self._labelled("why", problem.detail.splitlines())
        self._labelled("log", self._some(problem.log, last=True), words=False)
        self._line()

    def overview(self, report: Report) -> None:
        """Print one line a lab."""
        for lab in report.labs:
            start = Text.assemble(
                f"Lab {lab.number:>2}  ", _mark(lab.outcome), f"{lab.points:>3}/{lab.max_points:<3}  "
            )
            self._line(start + Text(lab.title if self.width >= NARROW else ""))
        self._line()

    def ending(self, report: Report) -> None:
        """Print the points, the price, the time, how to repeat the run and what to do next."""
        if not report.problem:
            verdict = Text(sentences.verdict(report), STYLES[report.outcome])
            self._hang(Text(), Text.assemble((sentences.points(report), "bold"), " · ", verdict))
        for line in filter(None, [sentences.undecided(report), *report.notes, sentences.bill(report)]):
            self._hang(Text(), Text(line))
        for line in [
            *sentences.guards(report, verbose=self.view.verbose),
            f"{sentences.times(report)} · seed {report.seed}",
        ]:
            self._hang(Text(), Text(line, "dim"))
        if report.command and not report.problem:
            self._line(Text(f"Repeat: {report.command}", "dim"))
        for name in self.view.files:
            self._line(Text(f"Written: {name}", "dim"))
        self._line()
        for number, step in enumerate(sentences.next_steps(report, self.view)):
            self._hang(Text("      " if number else "Next: ", "bold"), Text(step, "bold"))

    def _check(self, check: CheckResult, *, full: bool, why: str) -> None:
        start = Text.assemble("  ", _mark(check.outcome), f"{sentences.score(check):>3}  ")
        promise = Text(check.promise, "dim" if check.outcome is Outcome.SKIPPED else "")
        if not full and self.width >= NARROW:
            promise.truncate(self._room(start), overflow="ellipsis")
        self._hang(start, promise)
        if full:
            self._details(check)
        elif check.outcome not in (Outcome.PASSED, Outcome.FAILED):
            self._hang(Text(" " * len(start)), Text(why, "dim"))

    def _details(self, check: CheckResult) -> None:
        if check.outcome is not Outcome.PASSED:
            style = "bold" if check.outcome is Outcome.FAILED else ""
            self._hang(Text(" " * self.indent), Text(check.message, style))
        if not self.view.verbose:
            self._labelled("before", self._some(sentences.earlier(check)))
        for exchange in check.exchanges if self.view.verbose else check.exchanges[-1:]:
            self._exchange(exchange)
        self._labelled("log", self._some(check.log, last=True), words=False)
        self._labelled("measured", check.facts)
        if check.outcome is not Outcome.PASSED:
            self._labelled("read", [check.section])
        for number, hint in enumerate(check.hints[: self.view.hints.get((check.lab, check.name), 0)], 1):
            self._labelled(sentences.hint_heading(number, check), [hint], style="cyan")
        if check.outcome is not Outcome.PASSED or check.exchanges or check.facts:
            self._line()

    def _exchange(self, exchange: ExchangeRecord) -> None:
        self._labelled("sent", curl_lines(exchange.curl, self.width - self.indent - 11), wrap=False)
        headers = [
            f"{name}: {value}"
            for name, value in exchange.response_headers.items()
            if self.view.verbose or name.lower() not in DULL
        ]
        answer = self._some([*headers, *exchange.response.splitlines()])
        self._labelled("got", [sentences.answered(exchange), *answer], words=False)

    def _some(self, lines: Sequence[str], *, last: bool = False) -> list[str]:
        """Leave out what is too much, and say so."""
        if self.view.verbose:
            return list(lines)
        most = MOST_ROWS * (self.width - self.indent - 11)
        short = [line if len(line) <= most else f"{line[: most // 2]} … {line[-(most // 2 - 3) :]}" for line in lines]
        if len(short) <= MOST_LINES + 1:
            return short
        note = f"… {len(short) - MOST_LINES} more lines, shown by --verbose"
        return [note, *short[-MOST_LINES:]] if last else [*short[:MOST_LINES], note]

    def _labelled(
        self, label: str, lines: Iterable[str], *, style: str = "", wrap: bool = True, words: bool = True
    ) -> None:
        """Put a label beside its lines, or above them where there is little room."""
        body = [Text(row, style) for line in lines for row in line.splitlines() if row]
        if not body:
            return
        start = Text(" " * self.indent).append(f"{label:<10} ", "dim")
        if self.width < NARROW:
            self._line(start)
            start = Text(" " * (self.indent + 2))
        for line in body:
            self._hang(start, line, wrap=wrap, words=words)
            start = Text(" " * len(start))

    def _hang(self, start: Text, body: Text, *, wrap: bool = True, words: bool = True) -> None:
        """Print `body` after `start`, further rows below its first letter; sentences are cut at spaces."""
        if not body:
            return
        rows: Iterable[Text] = [body]
        if wrap and words:
            rows = body.wrap(self.console, self._room(start), overflow="fold")
        elif wrap:
            rows = [Text(row, body.style) for row in chop_cells(body.plain, self._room(start))]
        for row in rows:
            self._line(start + row)
            start = Text(" " * len(start))

    def _room(self, start: Text) -> int:
        return max(self.width - len(start), 8)

    def _line(self, line: Text | None = None) -> None:
        """Print one line as it is; a line to be copied may be longer than the screen."""
        text = line or Text()
        text.rstrip()
        if not sentences.signs_fit(self.console.encoding):
            text.plain = text.plain.translate(sentences.ASCII)
        self.console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False)


def _mark(outcome: Outcome) -> Text:
    return Text(f"{sentences.MARKS[outcome]} {sentences.WORDS[outcome]:<7}", STYLES[outcome])
