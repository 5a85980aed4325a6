"""Law: with labs 1…n solved, their checks pass, and every later check fails, guards apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.course import Course
from grader.report import Outcome
from grader.starter import render_tree
from tests.grading import SOLUTION, Grading, failures

LABS = Course().labs


@pytest.mark.law
@pytest.mark.parametrize("solved", range(len(LABS) + 1))
def test_staircase(solved: int, grading: Grading, tmp_path: Path) -> None:
    folder = tmp_path / "service"
    render_tree(SOLUTION, folder, {lab.number for lab in LABS[:solved]})
    report = grading.decided(folder, [lab.number for lab in LABS])
    assert not report.problem, failures(report)
    assert len(report.checks) == sum(len(lab.checks) for lab in LABS)
    for chapter in LABS:
        guards = {check.name for check in chapter.checks if check.guard}
        for result in (one for one in report.checks if one.lab == chapter.number and not one.waived):
            told = f"lab {chapter.number} {result.name}: {result.outcome} {result.message}"
            if chapter.number <= solved:
                assert result.outcome is Outcome.PASSED, told
            elif result.name not in guards:
                assert result.outcome in {Outcome.FAILED, Outcome.SKIPPED}, told
