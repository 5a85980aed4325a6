"""Law: a correct service that chose differently passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.course import Course
from grader.report import Outcome
from tests.grading import Grading, failures
from tests.variants import VARIANTS, Variant

CONFORMING = sorted(path for path in (Path(__file__).parent / "conforming").iterdir() if path.is_dir())


def labs_of(folder: Path) -> list[int]:
    """The labs that a service has solved: its file LABS, else all."""
    listed = folder / "LABS"
    known = [lab.number for lab in Course().labs]
    return [int(word) for word in listed.read_text().split()] if listed.exists() else known


@pytest.mark.parametrize("folder", CONFORMING, ids=lambda folder: folder.name)
def test_conforming_service_passes(folder: Path, grading: Grading) -> None:
    report = grading(folder, labs_of(folder))
    assert report.outcome is Outcome.PASSED, failures(report)
    assert all(one.outcome is Outcome.PASSED or one.waived for one in report.checks), failures(report)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_variant_passes(variant: Variant, grading: Grading) -> None:
    folder = grading.copy_of_solution(variant.name)
    variant.apply(folder)
    report = grading(folder, [variant.lab])
    assert report.outcome is Outcome.PASSED, failures(report)
    assert all(one.outcome is Outcome.PASSED or one.waived for one in report.checks), failures(report)
