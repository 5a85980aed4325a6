"""One source, eleven states: what the markers mean, and that every state is a program."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from grader.starter import MarkerError, render, render_tree

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "solutions" / "service"
STATES = [frozenset(range(1, last + 1)) for last in range(11)]

BLOCK = """\
def limit() -> int:
    # BEGIN SOLUTION 4: Count what came.
    #: return 0
    return count()
    # END SOLUTION
"""


def test_an_open_lab_shows_its_task_and_what_stands_there_before() -> None:
    assert render(BLOCK, set()) == "def limit() -> int:\n    # TODO (lab 4): Count what came.\n    return 0\n"


def test_a_solved_lab_shows_the_sentence_as_comment() -> None:
    assert render(BLOCK, {4}) == "def limit() -> int:\n    # Count what came.\n    return count()\n"


def test_only_the_solved_labs_are_solved() -> None:
    two = BLOCK + BLOCK.replace("4:", "5:").replace("limit", "cache")
    assert render(two, {5}).count("return count()") == 1


def test_a_marked_line_is_there_once_its_lab_is_solved() -> None:
    text = "import json\nimport math  # SOLUTION 4\n"
    assert render(text, {4}) == "import json\nimport math\n"
    assert render(text, set()) == "import json\n"


def test_a_block_may_hold_blank_lines_and_marked_lines() -> None:
    text = "# BEGIN SOLUTION 2: Do it.\n#: a = 1\n#:\n#: b = 2\nc = 3  # SOLUTION 5\n\nd = 4\n# END SOLUTION\n"
    assert render(text, set()) == "# TODO (lab 2): Do it.\na = 1\n\nb = 2\n"
    assert render(text, {2}) == "# Do it.\n\nd = 4\n"
    assert render(text, {2, 5}) == "# Do it.\nc = 3\n\nd = 4\n"


def test_what_is_left_out_leaves_no_heap_of_blank_lines() -> None:
    text = "a = 1\n\n\n# BEGIN SOLUTION 2: Do it.\nb = 2\n\n\n# END SOLUTION\n\n\nc = 3\n"
    assert render(text, {2}) == "a = 1\n\n\n# Do it.\nb = 2\n\n\nc = 3\n"
    assert render(text, set()) == "a = 1\n\n\n# TODO (lab 2): Do it.\n\n\nc = 3\n"


def test_text_without_markers_stays_as_it_is() -> None:
    text = "a = 1  # a comment\r\n\n\n\n\nb: int\n\n\n"
    assert render(text, {1}) == text


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("# END SOLUTION\n", 1, "without BEGIN"),
        ("# BEGIN SOLUTION 2: Do it.\na = 1\n", 1, "without END"),
        ("\n# BEGIN SOLUTION 2: Do it.\n# BEGIN SOLUTION 3: More.\n", 3, "still open"),
        ("a = 1\n#: b = 2\n", 2, "outside"),
        ("# BEGIN SOLUTION: Do it.\n", 1, "write"),
        ("# BEGIN SOLUTION 2\n", 1, "write"),
        ("# BEGIN SOLUTION two: Do it.\n", 1, "write"),
        ("# END SOLUTION 2\n", 1, "write"),
        ("a = 1  # BEGIN SOLUTION 2: Do it.\n", 1, "alone"),
    ],
)
def test_a_wrong_marker_is_named_by_file_and_line(text: str, line: int, words: str) -> None:
    with pytest.raises(MarkerError, match=rf"^limits\.py:{line}: .*{words}"):
        render(text, set(), name="limits.py")


def test_a_tree_keeps_permissions_and_leaves_caches_and_secrets_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("app/main.py", "app/__pycache__/main.pyc", "service.db", ".env", "picture.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"\xff" if name.endswith("png") else BLOCK.encode())
    (source / "app/main.py").chmod(0o755)
    assert render_tree(source, target, set()) == [Path("app/main.py"), Path("picture.png")]
    assert "TODO (lab 4)" in (target / "app/main.py").read_text()
    assert (target / "app/main.py").stat().st_mode & 0o111
    assert (target / "picture.png").read_bytes() == b"\xff"


def test_a_wrong_marker_in_a_tree_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("# END SOLUTION\n")
    with pytest.raises(MarkerError, match=r"source/main\.py:1: "):
        render_tree(tmp_path / "source", tmp_path / "target", set())


@pytest.fixture(scope="module", params=STATES, ids=lambda solved: f"state_{len(solved)}")
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service as it is after some labs."""
    target = tmp_path_factory.mktemp("state")
    render_tree(SOURCE, target, request.param)
    return target


def test_every_state_parses(state: Path) -> None:
    modules = list(state.rglob("*.py"))
    assert len(modules) > 20
    for module in modules:
        ast.parse(module.read_text(), str(module))


def test_every_state_is_formatted_and_knows_its_names(state: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--isolated", "--line-length", "120", str(state)]
    for command in (["format", "--diff"], ["check", "--select", "E9,F63,F7,F82"]):
        done = subprocess.run([*ruff, *command, *settings], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_state_shows_a_marker(state: Path) -> None:
    for path in state.rglob("*"):
        if path.is_file():
            assert " SOLUTION" not in path.read_text(), path


def test_the_finished_state_has_nothing_left_to_do(tmp_path: Path) -> None:
    render_tree(SOURCE, tmp_path, STATES[-1])
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or "TODO (lab" not in path.read_text(), path


def test_every_lab_has_something_to_do(tmp_path: Path) -> None:
    render_tree(SOURCE, tmp_path, set())
    texts = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for lab in range(1, 10):
        assert f"# TODO (lab {lab}): " in texts


def test_the_starter_is_the_rendered_source(tmp_path: Path) -> None:
    written = render_tree(SOURCE, tmp_path, set())
    starter = REPOSITORY / "labs" / "service"
    for path in written:
        assert (starter / path).read_bytes() == (tmp_path / path).read_bytes(), f"{path}: run `course render`"
    assert not {p.relative_to(starter) for p in (starter / "app").glob("*.py")} - set(written)
