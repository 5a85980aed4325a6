"""Grading in tests: real runs on real servers, with one workshop for a whole session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from grader.course import ROOT
from grader.report import CheckResult, Outcome, Report
from grader.runner import grade
from grader.worker import Workshop
from grader.workshop import start_workshop

SOLUTION = ROOT / "solutions" / "service"


class Quiet:
    """A watcher who says nothing."""

    def phase(self, name: str) -> None: ...
    def lab_started(self, number: int, slug: str, title: str, checks: int) -> None: ...
    def check_started(self, lab: int, name: str, promise: str) -> None: ...
    def check_finished(self, result: CheckResult) -> None: ...
    def finished(self, report: Report) -> None: ...


class Grading:
    """Grades folders, one after another, in a workshop that is started once."""

    def __init__(self, workshop: Workshop, scratch: Path) -> None:
        self.workshop = workshop
        self.scratch = scratch

    def __call__(
        self,
        folder: Path,
        labs: Sequence[int],
        *,
        only: Collection[str] = (),
        load: bool = False,
        seed: int = 1,
        jobs: int = 0,
    ) -> Report:
        """Grade a folder."""
        return grade(folder, labs, seed=seed, load=load, jobs=jobs, progress=Quiet(), only=only, shared=self.workshop)

    def decided(self, folder: Path, labs: Sequence[int], *, only: Collection[str] = ()) -> Report:
        """Grade a folder, and once more what was left undecided, since others may work on the machine, too."""
        report = self(folder, labs, only=only)
        undecided = [check for check in report.checks if check.outcome is Outcome.INCONCLUSIVE]
        if not undecided:
            return report
        again = self(folder, sorted({check.lab for check in undecided}), only={check.name for check in undecided})
        known = {(check.lab, check.name): check for check in again.checks}
        settled = [
            replace(lab, checks=tuple(known.get((check.lab, check.name), check) for check in lab.checks))
            for lab in report.labs
        ]
        return replace(report, labs=tuple(settled))

    def copy_of_solution(self, name: str) -> Path:
        """Copy the finished service to a folder of its own."""
        target = self.scratch / name
        shutil.copytree(SOLUTION, target)
        return target


@contextmanager
def open_grading(*, isolate: bool = False) -> Iterator[Grading]:
    """Start a workshop for many gradings; ``isolate`` keeps services in, or raises ``CannotIsolateError``."""
    scratch = Path(tempfile.mkdtemp(prefix="grading-"))
    try:
        with start_workshop(scratch, seed=0, isolate=isolate) as workshop:
            yield Grading(workshop, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def failures(report: Report) -> str:
    """Say what did not pass, for the message of a test."""
    if report.problem:
        return f"did not start: {report.problem.cause} {report.problem.detail} {report.problem.place}"
    bad = [one for one in report.checks if one.outcome not in {Outcome.PASSED, Outcome.SKIPPED} or one.blocking]
    return "\n".join(f"{one.lab} {one.name}: {one.outcome} {one.message}" for one in bad)


def failed(report: Report) -> set[str]:
    """The names of the checks that failed."""
    return {one.name for one in report.checks if one.outcome is Outcome.FAILED}
