"""Law: a correct service that chose differently passes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from grader.course import Course
from grader.report import Outcome, Report
from tests.grading import SOLUTION, Grading, failures
from tests.variants import VARIANTS, Variant

WHOLE = sorted(path for path in (Path(__file__).parent / "conforming").iterdir() if path.is_dir())
LABS = [lab.number for lab in Course().labs]


def labs_of(folder: Path) -> list[int]:
    """The labs that a service has solved: its file LABS, else all."""
    listed = folder / "LABS"
    return [int(word) for word in listed.read_text().split()] if listed.exists() else LABS


def passes(report: Report) -> None:
    assert report.outcome is Outcome.PASSED, failures(report)
    assert all(one.outcome is Outcome.PASSED or one.waived for one in report.checks), failures(report)


@pytest.mark.law
@pytest.mark.parametrize("folder", WHOLE, ids=lambda folder: folder.name)
def test_whole_service_passes(folder: Path, grading: Grading) -> None:
    passes(grading.decided(folder, labs_of(folder)))


@pytest.mark.law
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_variant_passes(variant: Variant, grading: Grading) -> None:
    folder = grading.copy_of_solution(variant.name)
    variant.apply(folder)
    passes(grading.decided(folder, variant.labs or LABS))


def test_twelve_services_chose_otherwise_throughout() -> None:
    throughout = [folder for folder in WHOLE if labs_of(folder) == LABS]
    throughout_varied = [variant for variant in VARIANTS if not variant.labs]
    assert len(throughout) >= 1
    assert len(throughout) + len(throughout_varied) >= 12


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_variant_fits(variant: Variant, tmp_path: Path) -> None:
    """Every choice can be made, also those that are not drawn, and what it makes can be read."""
    folder = Path(shutil.copytree(SOLUTION, tmp_path / "service"))
    variant.apply(folder)
    for path in folder.rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
