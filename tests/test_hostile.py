"""Hostile submissions: each gets a verdict, one clear sentence, does no harm, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from grader.formats import FORMATS, render
from grader.report import Outcome, Report
from grader.submission import BadSubmissionError
from tests.grading import Grading, failures, open_grading
from tests.hostile import HOSTILE, WELL, Hostile


def graded(folder: Path, grading: Grading) -> Report | str:
    """The report, or the sentence with which the folder was refused."""
    try:
        return grading(folder, [1])
    except BadSubmissionError as refusal:
        return str(refusal)


@pytest.mark.law
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_hostile_submission_gets_a_verdict(hostile: Hostile, grading: Grading, tmp_path: Path) -> None:
    folder = tmp_path / "submission"
    folder.mkdir()
    hostile.write(folder)
    before = {path: path.lstat().st_size for path in folder.rglob("*") if path.is_file()}
    result = graded(folder, grading)
    if isinstance(result, str):
        assert hostile.told in result, f"{hostile.name}: to be told {hostile.told!r}, and was told: {result}"
    elif result.problem:
        words = " ".join([result.problem.cause, result.problem.detail, result.problem.remedy, *result.problem.log])
        assert hostile.told in words, f"{hostile.name}: to be told {hostile.told!r}, and was told: {words[:400]}"
    else:
        assert not hostile.told, "it was expected not to start"
        assert result.outcome is Outcome.FAILED
        assert all(check.outcome is not Outcome.ERROR for check in result.checks), failures(result)
        assert all(render(result, name) for name in FORMATS)
    left = {path: path.lstat().st_size for path in folder.rglob("*") if path.is_file()}
    assert left == before, "the learner's own folder was changed"


LEAVERS = ["fork bomb", "leaves daemons", "many children", "kills its parent", "ignores SIGTERM"]


@pytest.mark.law
@pytest.mark.parametrize("name", LEAVERS)
def test_nothing_is_left_behind(name: str, tmp_path: Path) -> None:
    hostile = next(one for one in HOSTILE if one.name == name)
    (tmp_path / "submission").mkdir()
    hostile.write(tmp_path / "submission")
    with open_grading() as grading:
        grading(tmp_path / "submission", [1])
    left = [process.pid for process in psutil.process_iter() if in_a_run(process)]
    assert not left


def in_a_run(process: psutil.Process) -> bool:
    """Whether a process works in the folder of a run that is over; its copy of the submission has been removed."""
    try:
        return process.cwd().endswith("/submission (deleted)")
    except psutil.Error:
        return False


@pytest.mark.law
def test_the_next_submission_is_unaffected(grading: Grading, tmp_path: Path) -> None:
    Hostile("good", WELL).write(tmp_path)
    report = grading(tmp_path, [1])
    passed = {check.name for check in report.checks if check.outcome is Outcome.PASSED}
    assert {"root_greets", "health_says_healthy", "stops_when_asked"} <= passed
