from __future__ import annotations

import pytest

from grader.audit import ROWS, table
from grader.course import Course
from grader.report import CheckResult, LabResult, Outcome, Report

BUILT = [lab.number for lab in Course().labs]


def report_of(outcome: Outcome, *, but: str = "") -> Report:
    """A report in which every check of every lab ended the same way, one apart."""
    labs = []
    for chapter in Course().labs:
        results = []
        for check in chapter.checks:
            ended = Outcome.FAILED if check.name == but else outcome
            points = check.points if ended is Outcome.PASSED else 0
            results.append(CheckResult(chapter.number, check.name, check.promise, ended, points, check.points))
        labs.append(LabResult(chapter.number, chapter.slug, chapter.title, tuple(results)))
    return Report(labs=tuple(labs))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_names_checks_that_exist(row: object) -> None:
    known = {(lab.number, check.name) for lab in Course().labs for check in lab.checks}
    for number, names in row.proof.items():  # type: ignore[attr-defined]
        assert {(number, name) for name in names} <= known or number not in BUILT


def test_all_failed_is_all_open() -> None:
    text = table(report_of(Outcome.FAILED), BUILT)
    assert "✓ proved" not in text
    assert "not ready for production" in text


def test_one_failed_check_opens_its_row_only() -> None:
    text = table(report_of(Outcome.PASSED, but="documentation_is_served"), BUILT)
    assert [line.split()[2] for line in text.splitlines() if "✗ open" in line] == ["Documentation"]


def test_rows_of_labs_that_are_not_there_say_so() -> None:
    assert "– not built" in table(report_of(Outcome.PASSED), [1, 2, 3])
