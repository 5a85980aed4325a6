"""`%grade` in a cell: live progress while the checks run in another process, then the report."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader import workspace
from grader.course import ROOT, Course
from grader.formats import View, render
from grader.formats.element import Child, element
from grader.formats.html import fragment
from grader.formats.sentences import MARKS
from grader.formats.visible import visible_report
from grader.history import History
from grader.notebook import cards
from grader.notebook.playing import spelled
from grader.report import Outcome, Report

if TYPE_CHECKING:
    from grader.notebook.playing import Play
    from grader.supervisor import Process

PACE = 0.15
"""Seconds between two pictures of the progress."""

BASE = "../"
"""From notebooks/ to the root."""


class GradingFailedError(Exception):
    """Nothing could be graded; the text says why."""


class Grader:
    """A grading process, started at the first request and kept for the next."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._process: Process | None = None
        self._channel: socket.socket | None = None

    def grade(self, asked: dict[str, object]) -> Iterator[dict[str, Any]]:
        """Send a request and give the events, the report's last. Raises ``GradingFailedError``."""
        channel = self._started()
        finished = False
        try:
            channel.sendall(json.dumps(asked).encode() + b"\n")
            for event in self._events(channel):
                finished = event["event"] in {"report", "problem"}
                if event["event"] == "problem":
                    raise GradingFailedError(event["text"])
                yield event
                if finished:
                    return
            raise GradingFailedError(f"The grader has ended unexpectedly. {self._last_words()}")
        finally:
            if not finished:  # interrupted, or gone: the next request gets a new process
                self.close()

    def warm(self) -> None:
        """Start the process, so that the first request need not wait for it; nobody waits here."""
        self._started()

    def _events(self, channel: socket.socket) -> Iterator[dict[str, Any]]:
        with channel.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def _started(self) -> socket.socket:
        if self._channel and self._process and self._process.poll() is None:
            return self._channel
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-P", "-s", "-m", "grader.notebook.grading_process", str(theirs.fileno())]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self._play.folder)}
        with theirs:
            self._process = self._play.backends.spawn(
                argv, env=env, cwd=workspace.root(), log=self._log, fds=(theirs.fileno(),)
            )
        self._channel = ours
        return ours

    @property
    def _log(self) -> Path:
        return self._play.folder / "grading.log"

    def _last_words(self) -> str:
        return " ".join(self._log.read_text(errors="replace").splitlines()[-3:]) if self._log.exists() else ""

    def close(self) -> None:
        """End the process and its servers."""
        if self._channel:
            self._channel.close()
        if self._process:
            self._process.wait(5.0)  # it has servers to end
            self._process.stop(1.0)
        self._channel = self._process = None


@dataclass(repr=False)
class Running(cards.Card):
    """A run under way."""

    title: str
    phase: str = "starting"
    total: int = 0
    marks: list[str] = field(default_factory=list)
    points: int = 0
    current: dict[str, str] = field(default_factory=dict)
    label = "grading"

    def take(self, event: dict[str, Any]) -> None:
        """Take in what the grading process tells."""
        match event["event"]:
            case "phase":
                self.phase = event["name"]
            case "lab":
                self.total += event["checks"]
            case "started":
                self.current[event["name"]] = event["promise"]
            case "finished":
                self.current.pop(event["name"], None)
                self.marks.append(MARKS[Outcome(event["outcome"])])
                self.points += event["points"]

    def words(self) -> str:
        """Return one line."""
        return f"{self.title}: {self.phase} {''.join(self.marks)}".rstrip()

    def body(self) -> Iterable[Child]:
        """Give a bar, the marks so far and what is being checked."""
        done = f"{len(self.marks)} of {self.total} checks" if self.total else self.phase
        yield element(
            "p",
            element("strong", self.title),
            element("span", f"{done} · {self.points} points so far", class_="cw-soft", role="status"),
            class_="cw-head",
        )
        yield element("progress", done, value=len(self.marks), max=self.total or 1, aria_label="checks done")
        yield element("p", "".join(self.marks) + "·" * max(0, self.total - len(self.marks)), class_="cw-marks")
        yield element("p", next(iter(self.current.values()), "") or f"{self.phase} …", class_="cw-soft")


class ReportCard(cards.Card):
    """A report in a cell: the page that `grade --format html` writes, or the same facts as text."""

    label = "report"

    def __init__(self, report: Report, view: View) -> None:
        self.report, self.view = visible_report(report), view

    def words(self) -> str:
        """Return points, verdicts and what went wrong: no times, no addresses."""
        report = self.report
        if report.problem:
            told = [report.problem.cause, report.problem.detail, report.problem.place, report.problem.remedy]
            return "\n".join(["The service did not start.", *filter(None, told)])
        lines = []
        for lab in report.labs:
            lines.append(f"Lab {lab.number}: {lab.outcome.value}, {lab.points} of {lab.max_points} points")
            for check in lab.checks:
                lines.append(f"  {MARKS[check.outcome]} {check.outcome.value}: {check.promise}")
                if check.outcome is not Outcome.PASSED and check.message:
                    lines.append(f"      {check.message}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return fragment(self.report, self.view)


def graded(grader: Grader, title: str, asked: dict[str, object], show: Callable[[Running], None]) -> Report:
    """Grade and show the progress meanwhile. Raises ``GradingFailedError``."""
    running, shown = Running(title), 0.0
    show(running)
    for event in grader.grade(asked):
        if event["event"] == "report":
            return Report.from_dict(event["report"])
        running.take(event)
        if time.monotonic() - shown > PACE:
            show(running)
            shown = time.monotonic()
    raise GradingFailedError("The grader gave no report.")


def finish(report: Report, *, service: Path, whole: bool) -> ReportCard:
    """Remember a run of whole labs, write the page that JupyterLab's tile shows, and give the card."""
    labs = [lab.number for lab in report.labs]
    following = next((lab.stem for lab in Course().labs if whole and labs and lab.number > max(labs)), "")
    report = replace(report, submission=spelled(service))
    history = History()
    if whole:
        history.record(service, report)
    view = View(hints=history.hints(service), following=following, base=BASE)
    partial = () if whole else ("Only the named checks ran; %grade with the lab's number alone runs all of them.",)
    report = replace(report, notes=(*report.notes, *partial, *history.notes))
    if whole:
        keep_page(report, view)
    return ReportCard(report, view)


def page() -> Path:
    """Name the last report's page."""
    return workspace.home() / "report.html"


def keep_page(report: Report, view: View) -> None:
    """Write the last report as a page of its own."""
    page().parent.mkdir(parents=True, exist_ok=True)
    page().write_text(render(report, "html", view), encoding="utf-8")


def hints_card(report: Report | None, service: Path, names: Sequence[str] = ()) -> cards.Card:
    """Go one step down the ladder of the first check that failed, or of a named one."""
    if report is None:
        return cards.Note("There is nothing to hint at yet.", "Grade first: %grade 4")
    blocking = [check for check in report.checks if check.blocking and (not names or check.name in names)]
    if not blocking:
        return cards.Note("No check failed, so there is nothing to hint at.", state="good")
    check = blocking[0]
    if not check.hints:
        return cards.Note(check.promise, f"There are no hints for this one; read {check.section}.")
    shown = History().show_hint(service, check.lab, check.name, len(check.hints))
    hints = [f"Hint {n} of {len(check.hints)}: {hint}" for n, hint in enumerate(check.hints[:shown], 1)]
    return cards.Note(check.promise, *hints)
