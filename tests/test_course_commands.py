"""`course`: what it writes into a learner's folder, and that nothing of theirs is ever lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from grader import backup, cli, course_commands

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = """\
# BEGIN SOLUTION 1: Greet.
greeting = "hello"
# END SOLUTION
# BEGIN SOLUTION 2: Count.
#: count = None
count = 0
# END SOLUTION
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course with a finished service of three files, and a learner who stands in its root."""
    source = tmp_path / "solutions" / "service"
    (source / "app").mkdir(parents=True)
    (source / "app" / "limits.py").write_text(LIMITS)
    (source / "app" / "main.py").write_text("# BEGIN SOLUTION 2: Serve.\nserve()\n# END SOLUTION\n")
    (source / "Procfile").write_text("web: uvicorn app.main:app\n")
    (source / "Procfile").chmod(0o755)
    (tmp_path / "labs" / "service").mkdir(parents=True)
    monkeypatch.setattr(course_commands, "SOURCE", source)
    monkeypatch.delenv("COURSE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert course("reset", "--all") == 0
    return tmp_path


@pytest.fixture
def service(root: Path) -> Path:
    return root / "labs" / "service"


@pytest.fixture
def limits(service: Path) -> Path:
    """The file that the tests change."""
    return service / "app" / "limits.py"


def course(*words: str) -> int:
    return cli.course(words)


def backups(root: Path) -> list[Path]:
    return backup.kept(root / ".course" / "backups")


def test_the_first_reset_writes_the_starter_and_has_nothing_to_keep(root: Path, limits: Path) -> None:
    assert limits.read_text() == "# TODO (lab 1): Greet.\n# TODO (lab 2): Count.\ncount = None\n"
    assert (root / "labs" / "service" / "Procfile").stat().st_mode & 0o777 == 0o755
    assert backups(root) == []


def test_catch_up_solves_the_labs_up_to_the_one_named(limits: Path) -> None:
    assert course("catch-up", "1") == 0
    assert limits.read_text() == '# Greet.\ngreeting = "hello"\n# TODO (lab 2): Count.\ncount = None\n'


def test_what_catch_up_replaces_is_kept_where_it_says(
    root: Path, limits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits.write_text("mine\n")
    course("catch-up", "2")
    kept = backups(root)[0]
    assert (kept / "app" / "limits.py").read_text() == "mine\n"
    assert str(kept.relative_to(root)) in capsys.readouterr().out


def test_a_second_catch_up_finds_nothing_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    course("catch-up", "2")
    before = backups(root)
    capsys.readouterr()
    assert course("catch-up", "2") == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert backups(root) == before


def test_files_of_the_learners_own_stay(service: Path) -> None:
    (service / "app" / "ideas.py").write_text("mine\n")
    course("catch-up", "2")
    course("reset", "--all")
    assert (service / "app" / "ideas.py").read_text() == "mine\n"


def test_reset_of_a_file_leaves_the_others(service: Path, limits: Path) -> None:
    limits.write_text("mine\n")
    (service / "Procfile").write_text("mine\n")
    assert course("reset", "app/limits.py") == 0
    assert limits.read_text().startswith("# TODO (lab 1)")
    assert (service / "Procfile").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["app", "app/limits.py", "labs/service/app/limits.py", "./labs/service/app"])
def test_files_are_named_from_the_service_or_from_where_one_stands(limits: Path, name: str) -> None:
    limits.write_text("mine\n")
    assert course("reset", name) == 0
    assert limits.read_text().startswith("# TODO (lab 1)")


def test_reset_of_a_lab_takes_its_files_to_where_it_begins(service: Path, limits: Path) -> None:
    for path in (limits, service / "app" / "main.py", service / "Procfile"):
        path.write_text("mine\n")
    assert course("reset", "--lab", "2") == 0
    assert limits.read_text() == '# Greet.\ngreeting = "hello"\n# TODO (lab 2): Count.\ncount = None\n'
    assert (service / "app" / "main.py").read_text() == "# TODO (lab 2): Serve.\n"
    assert (service / "Procfile").read_text() == "mine\n"


def test_restore_undoes_and_undoes_itself(limits: Path) -> None:
    limits.write_text("mine\n")
    course("reset", "--all")
    assert course("restore") == 0
    assert limits.read_text() == "mine\n"
    assert course("restore") == 0
    assert limits.read_text().startswith("# TODO (lab 1)")


def test_restore_takes_the_backup_that_is_named(root: Path, limits: Path) -> None:
    for text in ("first\n", "second\n"):
        limits.write_text(text)
        course("reset", "--all")
    assert course("restore", backups(root)[-1].name) == 0
    assert limits.read_text() == "first\n"


def test_ten_backups_within_a_second_keep_their_order(root: Path, limits: Path) -> None:
    for number in range(12):
        limits.write_text(f"{number}\n")
        course("reset", "--all")
    found = [(folder / "app" / "limits.py").read_text() for folder in backups(root)]
    assert found == [f"{number}\n" for number in reversed(range(12))]


def test_restore_lists_what_there_is(limits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    course("restore", "--list")
    assert "nothing of yours was ever replaced" in capsys.readouterr().out
    limits.write_text("mine\n")
    course("reset", "--all")
    course("restore", "--list")
    assert "app/limits.py" in capsys.readouterr().out


def test_a_link_is_replaced_and_what_it_leads_to_stays(root: Path, limits: Path) -> None:
    elsewhere = root / "elsewhere.py"
    elsewhere.write_text("mine\n")
    limits.unlink()
    limits.symlink_to(elsewhere)
    course("reset", "app/limits.py")
    assert elsewhere.read_text() == "mine\n"
    assert not limits.is_symlink()
    assert (backups(root)[0] / "app" / "limits.py").read_text() == "mine\n"


def test_render_writes_into_an_empty_folder_only(root: Path) -> None:
    assert course("render", "--solved", "1-2", "out") == 0
    assert (root / "out" / "app" / "limits.py").read_text() == '# Greet.\ngreeting = "hello"\n# Count.\ncount = 0\n'
    with pytest.raises(SystemExit, match="2"):
        course("render", "out")


@pytest.mark.parametrize(
    "words",
    [
        ("catch-up",),
        ("catch-up", "99"),
        ("catch-up", "two"),
        ("reset",),
        ("reset", "--all", "--lab", "1"),
        ("reset", "--all", "app/limits.py"),
        ("reset", "app/nowhere.py"),
        ("reset", "../../etc/passwd"),
        ("restore", "yesterday"),
        ("render", "--solved", "99", "out"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(
    root: Path, limits: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    limits.write_text("mine\n")
    course("reset", "--all")
    course("restore")
    before = backups(root)
    with pytest.raises(SystemExit, match="2"):
        course(*words)
    assert capsys.readouterr().err
    assert limits.read_text() == "mine\n"
    assert backups(root) == before
