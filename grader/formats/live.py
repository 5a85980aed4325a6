"""Live: what a run is doing, drawn while it goes on or told line by line."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from grader.formats import sentences
from grader.formats.terminal import STYLES
from grader.formats.visible import visible
from grader.report import CheckResult, Outcome, Report

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

TITLE = 26
"""Columns for a lab's title."""


@dataclass
class Row:
    """One lab under way."""

    number: int
    title: str
    total: int
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    running: dict[str, str] = field(default_factory=dict)
    results: list[CheckResult] = field(default_factory=list)

    def finish(self, result: CheckResult) -> None:
        """Add a result; the last one stops the clock."""
        self.running.pop(result.name, None)
        self.results.append(result)
        if len(self.results) >= self.total:
            self.ended = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the lab began, until it ended."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def score(self) -> str:
        """Points so far of the points decided so far."""
        counted = [each for each in self.results if each.counted]
        return f"{sum(each.points for each in counted)}/{sum(each.max_points for each in counted)}"

    @property
    def worst(self) -> Outcome | None:
        """How the lab looks up to now."""
        found = {each.outcome for each in self.results}
        return next((each for each in (Outcome.ERROR, Outcome.FAILED, Outcome.PASSED) if each in found), None)


class LiveProgress:
    """Draws one line for each lab on a terminal and takes them away at the end. A `Progress`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows: dict[int, Row] = {}
        self.name = "starting"
        self.begun = time.monotonic()
        ascii_only = not sentences.signs_fit(console.encoding)
        self.spinner = Spinner("line" if ascii_only else "dots", style="cyan")
        self.signs = sentences.ASCII if ascii_only else {}
        self.live = Live(get_renderable=self.draw, console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def phase(self, name: str) -> None:
        """Show the name of this part of the run."""
        self.name = name

    def lab_started(self, number: int, slug: str, title: str, checks: int) -> None:
        """Add a line, or go on with that of a lab whose load checks come later."""
        _begin(self.rows, Row(number, title or slug, checks))

    def check_started(self, lab: int, name: str, promise: str) -> None:
        """Show the promise that is being checked."""
        if lab in self.rows:
            self.rows[lab].running[name] = promise

    def check_finished(self, result: CheckResult) -> None:
        """Show the mark of a result."""
        if result.lab in self.rows:
            self.rows[result.lab].finish(result)

    def finished(self, report: Report) -> None:  # noqa: ARG002 - the final report is printed by whoever asked for it
        """Take the lines away."""
        self.live.stop()

    def draw(self) -> RenderableType:
        """Draw the lines as they are now."""
        now = time.monotonic()
        spin = self.spinner.render(now)
        frame = spin if isinstance(spin, Text) else Text(" ")
        head = Text.assemble(frame, f" {self.name} · {now - self.begun:.0f} s")
        return Group(self._fit(head), *(self._row(self.rows[number], frame) for number in sorted(self.rows)))

    def _row(self, row: Row, frame: Text) -> Text:
        sign = (
            Text(sentences.MARKS[row.worst], STYLES[row.worst])
            if row.ended and row.worst
            else frame
            if not row.ended
            else Text(" ")
        )
        marks = Text.assemble(*((sentences.MARKS[each.outcome], STYLES[each.outcome]) for each in row.results))
        marks.append("·" * (row.total - len(row.results)), "dim")
        line = Text.assemble(sign, f" Lab {row.number:>2} ")
        if self.console.width >= TITLE + 40:
            title = Text(row.title.partition(":")[0])
            title.truncate(TITLE, overflow="ellipsis", pad=True)
            line.append(title).append(" ")
        line.append(marks).append(f"  {row.score} pt  {row.seconds:.1f} s  ")
        return self._fit(line.append(visible(next(iter(row.running.values()), "")), "dim"))

    def _fit(self, line: Text) -> Text:
        """Keep a line to one row of the screen, in signs the terminal has, with room for the echo of Ctrl-C."""
        line.truncate(max(self.console.width - 4, 1), overflow="ellipsis")
        line.plain = line.plain.translate(self.signs)
        return line


class PlainProgress:
    """Tells of each lab in one line when it is done, for logs that somebody watches. A `Progress`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.rows: dict[int, Row] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take away."""

    def phase(self, name: str) -> None:
        """Phases are in the report's last lines."""

    def lab_started(self, number: int, slug: str, title: str, checks: int) -> None:
        """Remember the lab."""
        _begin(self.rows, Row(number, title or slug, checks))

    def check_started(self, lab: int, name: str, promise: str) -> None:
        """Checks are too many to be told one by one."""

    def check_finished(self, result: CheckResult) -> None:
        """Tell of a lab whose last check has ended."""
        row = self.rows.get(result.lab)
        if row is None:
            return
        row.finish(result)
        if len(row.results) == row.total:
            print(f"lab {row.number} done: {row.score} points, {row.seconds:.1f} s", file=self.stream, flush=True)

    def finished(self, report: Report) -> None:
        """The report says the rest."""


def _begin(rows: dict[int, Row], row: Row) -> None:
    """Add a lab; one that comes again goes on where it was."""
    before = rows.setdefault(row.number, row)
    if before is not row:
        before.total += row.total
        before.ended = None
