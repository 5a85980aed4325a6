from __future__ import annotations

from pathlib import Path

import pytest

from grader import workspace


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand deep inside a course of one's own."""
    (tmp_path / "labs" / "service" / "app").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "labs" / "service" / "app")
    for name in ("COURSE_HOME", "COURSE_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_everything_is_found_from_inside_the_course(course: Path) -> None:
    assert workspace.root() == course
    assert workspace.home() == course / ".course"
    assert workspace.service() == course / "labs" / "service"


def test_outside_of_a_course_the_graders_own_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert workspace.root() == Path(workspace.__file__).parent.parent


def test_the_environment_decides(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_HOME", "~/course")
    monkeypatch.setenv("COURSE_SERVICE", "solutions/service")

    assert workspace.home() == Path.home() / "course"
    assert workspace.service() == workspace.root() / "solutions/service"
    assert course


def test_short_paths(course: Path) -> None:
    assert workspace.short(course / "labs" / "service" / "app" / "main.py") == "main.py"
    assert workspace.short(Path("/somewhere/else")) == "/somewhere/else"
    assert workspace.short(Path.cwd()) == str(Path.cwd())
