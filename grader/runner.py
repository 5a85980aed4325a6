"""The story of a run: set up the backends, start the learner's service, let every lab's checks at it, report."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.course import Chapter, Course
from grader.report import OWN_MACHINE, CheckResult, LabResult, Outcome, Progress, Report, StartProblem
from grader.shift import Labwork, Part, Shift, divided
from grader.submission import Submission

if TYPE_CHECKING:
    from grader.chart import Chart
    from grader.declaration import Check
    from grader.worker import Workshop


class Run:
    """One run from set-up to report."""

    def __init__(
        self,
        submission: Submission,
        seed: int,
        jobs: int,
        progress: Progress,
        only: Collection[str] = (),
        *,
        isolate: bool = False,
    ) -> None:
        self.isolate = isolate
        self.isolation = OWN_MACHINE
        self.submission = submission
        self.only = frozenset(only)
        self.seed = seed
        self.jobs = jobs
        self.progress = progress
        self.phases: dict[str, float] = {}
        self.results: dict[int, list[CheckResult]] = {}
        self.seconds: dict[int, float] = {}
        self.charts: list[Chart] = []
        self.bill: dict[str, float] = {}
        self.saved = 0.0
        self.notes: list[str] = []
        self.problem: StartProblem | None = None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a part of the run."""
        self.progress.phase(name)
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - started, 3)

    def execute(self, chapters: Sequence[Chapter], *, load: bool, shared: Workshop | None) -> None:
        """Do everything; what was found is in the attributes. A shared workshop is used and left as it was."""
        directory = Path(tempfile.mkdtemp(prefix="grade-"))
        try:
            with contextlib.ExitStack() as ending:
                with self.phase("set-up"):
                    workshop, copy = self._set_up(directory, chapters, shared, ending)
                self._grade(workshop, copy, chapters, load=load, ahead=shared is None)
                ending.enter_context(self.phase("tear-down"))
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _set_up(
        self,
        directory: Path,
        chapters: Sequence[Chapter],
        shared: Workshop | None,
        ending: contextlib.ExitStack,
    ) -> tuple[Workshop, Submission]:
        from grader.workshop import start_workshop  # noqa: PLC0415  # imports the field's heavy libraries

        copy = self.submission.copy_to(directory / "submission")
        if shared is None:
            workers = any(chapter.lab.worker for chapter in chapters)
            starting = start_workshop(directory, self.seed, isolate=self.isolate, workers=workers)
            workshop = ending.enter_context(starting)
        else:
            workshop = replace(shared, directory=directory, seed=self.seed)
        if sandbox := workshop.learners.sandbox:
            self.isolation = f"strangers ({sandbox.walls})"
        return workshop, copy

    def _grade(
        self, workshop: Workshop, copy: Submission, chapters: Sequence[Chapter], *, load: bool, ahead: bool
    ) -> None:
        """Try to start the service, then check; ``ahead`` begins the labs while the first imports are under way."""
        with self._shift(workshop, copy, chapters, load=False).ended() as shift:
            with self.phase("start"):
                if ahead:
                    shift.begin()
                self.problem = None if self.only else workshop.try_start(copy)  # single checks find out by themselves
            if self.problem is not None:
                return
            with self.phase("checks"):
                self._finish(shift, chapters, load=False)
        heavy = [chapter for chapter in chapters if any(self._wanted(check, load=True) for check in chapter.checks)]
        if load and heavy:
            with self.phase("load"), self._shift(workshop, copy, heavy, load=True).ended() as shift:
                self._finish(shift, heavy, load=True)
        elif heavy:
            self._waive_load(heavy)

    def _wanted(self, check: Check, *, load: bool) -> bool:
        return check.load is load and (not self.only or check.name in self.only)

    def total(self) -> dict[str, float]:
        """The run's bill, with what it would have been without the learner's cache where one was seen at work."""
        if self.saved <= 0:
            return self.bill
        return self.bill | {"without_cache_usd": round(self.bill["price_usd"] + self.saved, 6)}

    def _waive_load(self, chapters: Sequence[Chapter]) -> None:
        for chapter in chapters:
            for check in (one for one in chapter.checks if self._wanted(one, load=True)):
                skipped = CheckResult(
                    lab=chapter.number,
                    name=check.name,
                    promise=check.promise,
                    outcome=Outcome.SKIPPED,
                    points=0,
                    max_points=check.points,
                    message="Load checks were switched off with --no-load.",
                    hints=check.hints,
                    waived=True,
                )
                self._keep(skipped)

    def _shift(self, workshop: Workshop, copy: Submission, chapters: Sequence[Chapter], *, load: bool) -> Shift:
        """Lay out labs side by side, long ones in several parts, those that wait long first; load comes alone."""
        from grader.worker import perform  # noqa: PLC0415  # as above

        parts = [part for chapter in chapters for part in self._parts(chapter, load=load)]
        parts.sort(key=lambda part: -part.waits)
        work = partial(perform, workshop, copy)
        return Shift(parts, at_once=1 if load else self.jobs, perform=work, hear=self._take)

    def _finish(self, shift: Shift, chapters: Sequence[Chapter], *, load: bool) -> None:
        for chapter in chapters:
            count = sum(self._wanted(check, load=load) for check in chapter.checks)
            self.progress.lab_started(chapter.number, chapter.slug, chapter.title, count)
        shift.finish()

    def _parts(self, chapter: Chapter, *, load: bool) -> list[Part]:
        checks = [check for check in chapter.checks if self._wanted(check, load=load)]
        return divided(chapter, checks, 1 if load or self.only else chapter.lab.parts, load=load)

    def _take(self, labwork: Labwork, kind: str, value: Any) -> None:  # noqa: ANN401  # each kind has its own
        match kind:
            case "check_started":
                labwork.current = value
                self.progress.check_started(labwork.part.chapter.number, *value)
            case "check_finished":
                labwork.results.append(value)
                self._keep(value)
            case "chart":
                self.charts.append(value)
            case "bill":
                for name, amount in value.items():
                    self.bill[name] = round(self.bill.get(name, 0) + amount, 6)
            case "saved":
                self.saved += value
            case "note":
                self.notes.append(value)
            case "problem":
                self._fill_in(labwork, value)
            case "ended":
                number = labwork.part.chapter.number
                self.seconds[number] = max(self.seconds.get(number, 0.0), value)

    def _fill_in(self, labwork: Labwork, why: str) -> None:
        """Give every check without a result an error; none is ever lost."""
        known = {result.name for result in labwork.results}
        for check in labwork.part.checks:
            if check.name not in known:
                error = CheckResult(
                    lab=labwork.part.chapter.number,
                    name=check.name,
                    promise=check.promise,
                    outcome=Outcome.ERROR,
                    points=0,
                    max_points=check.points,
                    message=why,
                    hints=check.hints,
                )
                labwork.results.append(error)
                self._keep(error)

    def _keep(self, result: CheckResult) -> None:
        self.results.setdefault(result.lab, []).append(result)
        self.progress.check_finished(result)


def _lab_result(chapter: Chapter, results: Sequence[CheckResult], seconds: float) -> LabResult:
    found = {result.name: result for result in results}
    for check in chapter.checks:
        before = [found[name] for name in check.needs if name in found]
        earlier = next((result for result in before if result.outcome is not Outcome.PASSED), None)
        if earlier and check.name in found and found[check.name].outcome is not Outcome.SKIPPED:
            found[check.name] = _skipped(found[check.name], earlier)
    ordered = tuple(found[check.name] for check in chapter.checks if check.name in found)
    return LabResult(chapter.number, chapter.slug, chapter.title, ordered, round(seconds, 3))


def _skipped(result: CheckResult, earlier: CheckResult) -> CheckResult:
    """Skip a check whose prerequisite, in another part of the lab, has not passed."""
    told = f"Comes after “{earlier.name.replace('_', ' ')}”, which has not passed yet."
    waived = earlier.undecided
    return replace(result, outcome=Outcome.SKIPPED, points=0, message=told, exchanges=(), log=(), waived=waived)


def default_jobs() -> int:
    """Parts of labs that are checked at once: checks wait more than they work, and processors that race are slower."""
    return 4 + 2 * (os.cpu_count() or 1)


def grade(
    submission: Path,
    labs: Sequence[int],
    *,
    seed: int,
    load: bool,
    jobs: int,
    progress: Progress,
    only: Collection[str] = (),
    shared: Workshop | None = None,
    isolate: bool = False,
) -> Report:
    """Grade a folder. Raises ``BadSubmissionError`` when it is none, ``KeyError`` for a lab that is not built.

    ``isolate`` keeps it in a sandbox; raises ``CannotIsolateError`` where there can be none.

    ``jobs`` labs are checked at once (0: as many as suit the machine), ``only`` names the checks to run (empty: all),
    ``shared`` is a workshop that runs share so that its start is paid for once.
    """
    started, began = datetime.now(UTC), time.monotonic()
    chapters = [Course().lab(number) for number in labs]
    run = Run(Submission.at(submission), seed, jobs or default_jobs(), progress, only, isolate=isolate)
    run.execute(chapters, load=load, shared=shared)
    found = [_lab_result(one, run.results.get(one.number, []), run.seconds.get(one.number, 0.0)) for one in chapters]
    report = Report(
        labs=() if run.problem else tuple(found),
        seed=seed,
        seconds=round(time.monotonic() - began, 3),
        problem=run.problem,
        bill=run.total() or None,
        notes=tuple(run.notes),
        phases=run.phases,
        guards={"isolation": run.isolation},
        charts=tuple(run.charts),
        submission=str(submission),
        started_at=started,
    )
    progress.finished(report)
    return report
