"""Consistency: every way in which parts of the course can disagree is found and said."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from grader import consistency, documents

if TYPE_CHECKING:
    from grader.course import Course

STEM = "01_architecture"


def a_check(name: str = "greets", **changes: Any) -> Any:
    ours = {"name": name, "promise": "It greets.", "points": 1, "guard": False, "hints": ("h",), "needs": (), "line": 1}
    return SimpleNamespace(**(ours | changes))


class Fake:
    """A small course that agrees, in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.minutes = 30
        self.checks = [a_check()]
        self.number = 1
        self.write("README.md", "# Course\n\n<!-- labs -->\n<!-- /labs -->\n")
        self.write(f"labs/{STEM}.md", "# Lab 1 · Architecture\n\n<!-- checks -->\n<!-- /checks -->\n")
        self.write("solutions/service/app.py", "# BEGIN SOLUTION 1: Greet.\ngreet()\n# END SOLUTION\n")
        self.write("labs/service/app.py", "# TODO (lab 1): Greet.\n")
        for path, text in documents.written(self.course).items():
            path.write_text(text)

    @property
    def course(self) -> Course:
        chapter = SimpleNamespace(
            number=self.number,
            title="Architecture",
            lab=SimpleNamespace(minutes=self.minutes),
            checks=self.checks,
            brief=self.root / "labs" / f"{STEM}.md",
            notebook=self.root / "notebooks" / f"{STEM}.ipynb",
            stem=STEM,
        )
        made: Any = SimpleNamespace(labs=[chapter])
        return made  # type: ignore[no-any-return]

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def faults(self) -> list[str]:
        return list(consistency.faults(self.course))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    for module in (consistency, documents):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(consistency, "SOURCE", tmp_path / "solutions" / "service")
    monkeypatch.setattr(consistency, "STARTER", tmp_path / "labs" / "service")
    return Fake(tmp_path)


def test_a_course_that_agrees_has_no_faults(fake: Fake) -> None:
    assert fake.faults() == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"promise": "It greets"}, "is no sentence"),
        ({"points": -1}, "it carries -1 points"),
        ({"guard": True}, "it carries 1 points"),
        ({"hints": ()}, "has no hint"),
        ({"needs": ("later",)}, "needs later, which does not stand before it"),
    ],
)
def test_a_check_that_is_not_whole_is_named(fake: Fake, changes: dict[str, Any], fault: str) -> None:
    fake.checks = [a_check(**changes), a_check("later", line=2)]
    assert any(said.startswith("lab 1, greets: ") and fault in said for said in fake.faults())


def test_a_lab_without_number_time_checks_or_brief_is_named(fake: Fake) -> None:
    fake.number, fake.minutes, fake.checks = 2, 0, []
    (fake.root / "labs" / f"{STEM}.md").unlink()
    said = " / ".join(fake.faults())
    for fault in ("a number is missing", "takes 0 minutes", "has no checks", "has no brief"):
        assert fault in said


def test_checks_that_cannot_be_read_are_named(fake: Fake) -> None:
    course: Any = SimpleNamespace(labs=[SimpleNamespace(number=1, stem=STEM)])  # without a lab
    (said,) = consistency.faults(course)
    assert said.startswith(f"grader/checks/lab_{STEM}.py cannot be read")
    assert fake.faults() == []


def test_a_brief_of_another_lab_is_named(fake: Fake) -> None:
    fake.write(f"labs/{STEM}.md", "# Lab 7\n")
    said = " / ".join(fake.faults())
    assert "does not begin with `# Lab 1 · `" in said
    assert "has no place between" in said


def test_once_there_are_notebooks_every_lab_has_one(fake: Fake) -> None:
    fake.write("notebooks/00_start_here.ipynb", "{}")
    assert fake.faults() == [f"lab 1 has no notebook: notebooks/{STEM}.ipynb is missing"]


@pytest.mark.parametrize("name", ["labs/02_auth.md", "notebooks/02_auth.ipynb", "tests/mutants/lab_02_auth.py"])
def test_what_belongs_to_no_lab_is_named(fake: Fake, name: str) -> None:
    fake.write(name, "")
    assert f"{name} belongs to no lab: there is no grader/checks/lab_02_auth.py" in fake.faults()


def test_documents_that_lag_behind_the_checks_are_named(fake: Fake) -> None:
    fake.checks.append(a_check("waves", line=2))
    said = fake.faults()
    assert [fault.split()[0] for fault in said] == ["README.md", f"labs/{STEM}.md"]


def test_a_starter_that_differs_is_named(fake: Fake) -> None:
    fake.write("labs/service/app.py", "mine\n")
    fake.write("labs/service/extra.py", "mine\n")
    (said,) = fake.faults()
    assert "(app.py, extra.py)" in said


def test_a_marker_that_is_wrong_is_named_with_its_line(fake: Fake) -> None:
    fake.write("solutions/service/app.py", "# END SOLUTION\n")
    assert any("app.py:1: END SOLUTION without BEGIN SOLUTION" in said for said in fake.faults())


def test_a_starter_in_which_somebody_works_is_left_alone(fake: Fake) -> None:
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=fake.root, check=True)
    assert not consistency.touched()
    fake.write("labs/service/app.py", "mine\n")
    assert consistency.touched()
    assert fake.faults() == []


def test_a_link_that_leads_nowhere_is_named(fake: Fake) -> None:
    fake.write("labs/README.md", f"[a]({STEM}.md#top) [b](nowhere.md) [c](https://example.org) [d](#here)\n")
    assert fake.faults() == ["labs/README.md links to nowhere.md, which does not exist"]
