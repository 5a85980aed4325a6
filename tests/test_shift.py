from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.course import Course
from grader.runner import grade
from grader.shift import divided
from tests.grading import SOLUTION, Quiet


@settings(deadline=None)  # the first of a lab pays for its imports
@given(st.integers(1, 9), st.integers(1, 6))
def test_a_lab_is_divided_without_loss(number: int, count: int) -> None:
    chapter = Course().lab(number)
    parts = divided(chapter, chapter.checks, count, load=False)
    names = [name for part in parts for name in part.names]
    assert sorted(names) == sorted(check.name for check in chapter.checks)
    assert len(parts) == min(count, len(names))
    assert len({part.name for part in parts}) == len(parts)


def test_parts_wait_about_as_long_as_one_another() -> None:
    chapter = Course().lab(7)
    waits = [part.waits for part in divided(chapter, chapter.checks, 3, load=False)]
    assert max(waits) - min(waits) < max(check.waits for check in chapter.checks)


def test_labs_that_were_begun_early_are_forgotten_when_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, scratch = tmp_path / "service", tmp_path / "scratch"
    shutil.copytree(SOLUTION, service)
    (service / "app" / "main.py").write_text("import no_such_module\n")
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = psutil.Process().children(recursive=True)
    report = grade(service, range(1, 10), seed=7, load=False, jobs=0, progress=Quiet())
    assert report.problem is not None
    assert "no_such_module" in report.problem.detail
    assert report.labs == ()
    assert [left for left in psutil.Process().children(recursive=True) if left not in before] == []
    assert list(scratch.iterdir()) == []
