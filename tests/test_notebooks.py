"""The notebooks: their shape, their links, their exercises in three states. `make test-notebooks` runs them whole."""

from __future__ import annotations

import ast
import json
import linecache
import re
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from grader import figures
from grader.course import ROOT
from grader.notebook import judge, solved

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STEMS = [path.stem for path in NOTEBOOKS]
KNOWN_TAGS = {"setup", "demo", "exercise", "check", "grade", "quiz", "given", "teardown", "load"}
NBVAL_TAGS = {"nbval-check-output", "nbval-ignore-output", "nbval-skip", "raises-exception"}
PICTURES = re.compile(rf"\b({'|'.join(name for name in figures.__all__ if name not in {'Quiz', 'Progress'})})\(")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH_ARGUMENT = re.compile(r'"path":\s*"([^"]+)"')
REMOTE = re.compile(r"<(script|link|img|iframe)\b[^>]*(src|href)=.https?:", re.IGNORECASE)

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=STEMS)


def code(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in solved.cells(path) if cell["cell_type"] == "code"]


def prose(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in solved.cells(path) if cell["cell_type"] == "markdown"]


def tagged(path: Path, tag: str) -> list[dict[str, Any]]:
    return [cell for cell in code(path) if tag in solved.tags(cell)]


def lines_of(cell: dict[str, Any]) -> int:
    return sum(bool(line.strip()) for line in cell["source"].splitlines())


@every
def test_files_are_clean(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags"}, cell["id"]
        assert set(solved.tags(cell)) <= KNOWN_TAGS | NBVAL_TAGS, cell["id"]
        assert cell.get("execution_count") is None
        assert cell.get("outputs", []) == [] or "nbval-check-output" in solved.tags(cell), cell["id"]


@every
def test_cells_have_names(path: Path) -> None:
    names = [cell["id"] for cell in solved.cells(path)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{1,62}[a-z0-9]", name) for name in names), names
    assert not any(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4,})*", name) for name in names), "ids by chance"


@every
def test_lengths(path: Path) -> None:
    assert 30 <= len(solved.cells(path)) <= 60
    lengths = [lines_of(cell) for cell in code(path)]
    assert max(lengths) <= 10, [cell["id"] for cell in code(path) if lines_of(cell) > 10]
    assert statistics.median(lengths) <= 4


@every
def test_what_each_notebook_has(path: Path) -> None:
    sources = "\n".join(cell["source"] for cell in code(path))
    assert PICTURES.search(sources), "no interactive picture"
    assert tagged(path, "quiz"), "no question to predict"
    assert tagged(path, "check"), "no exercise"
    assert len(tagged(path, "check")) + len(tagged(path, "grade")) >= 2
    assert code(path)[0]["id"] == "setup"
    assert code(path)[-1]["source"].strip() == "%service stop"


@every
def test_exercises_and_checks_come_in_pairs(path: Path) -> None:
    ids = [cell["id"] for cell in code(path)]
    exercises = [cell["id"] for cell in tagged(path, "exercise")]
    checks = [cell["id"] for cell in tagged(path, "check")]
    assert [name.removeprefix("exercise-") for name in exercises] == [name.removeprefix("check-") for name in checks]
    assert all(ids[ids.index(name) + 1] == name.replace("exercise-", "check-", 1) for name in exercises)
    for state in ("solved", "wrong"):
        assert set(solved.sources(path.stem, state)) == set(exercises), state


@every
def test_headings_come_in_order(path: Path) -> None:
    text = "\n".join(re.sub(r"```.*?```", "", cell["source"], flags=re.DOTALL) for cell in prose(path))
    levels = [len(mark) for mark in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@every
def test_prose_needs_nothing_from_elsewhere(path: Path) -> None:
    for cell in prose(path):
        assert not REMOTE.search(cell["source"]), cell["id"]
        assert not re.search(r"!\[\s*\]\(|<img(?![^>]*\balt=)", cell["source"]), (
            f"{cell['id']}: a picture without words"
        )
        assert not re.search(r"<(script|style|iframe|svg)\b", cell["source"]), cell["id"]


@every
def test_links_lead_somewhere(path: Path) -> None:
    planned = {ROOT / "notebooks" / f"{stem}.ipynb" for stem in PLANNED}
    for cell in prose(path):
        for target in LINK.findall(cell["source"]):
            if target.startswith(("https://", "#", "mailto:")):
                continue
            file = (path.parent / target.partition("#")[0]).resolve()
            assert file.exists() or file in planned, f"{cell['id']}: {target}"
        for target in PATH_ARGUMENT.findall(cell["source"]):
            assert (ROOT / target).exists(), f"{cell['id']}: {target}"


PLANNED = (
    "00_start_here",
    "01_architecture",
    "02_apis",
    "03_authentication",
    "04_rate_limiting",
    "05_caching",
    "06_observability",
    "07_resilience",
    "08_deployment",
    "09_scaling",
    "10_incidents",
)


def imports_of(path: Path) -> list[str]:
    """Give the import lines of a notebook's plain cells: what its exercises may take for granted."""
    found: list[str] = []
    for cell in code(path):
        if cell["source"].lstrip().startswith("%"):
            continue
        tree = ast.parse(re.sub(r"^[%!].*$", "", cell["source"], flags=re.MULTILINE))
        found += [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return found


def run(source: str, name: str, names: dict[str, Any]) -> None:
    """Run a cell's source so that `inspect` finds it again, as it does in a kernel."""
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, [f"{line}\n" for line in source.splitlines()], file)
    exec(compile(source, file, "exec", dont_inherit=True), names)  # noqa: S102 - our own notebook


def verdicts(path: Path, state: str) -> dict[str, judge.Verdict]:
    """Run the exercise and check cells as a kernel would, in one of the three states."""
    sources = solved.sources(path.stem, state)
    names: dict[str, Any] = {"__name__": "__main__"}
    for line in imports_of(path):
        exec(line, names)  # noqa: S102 - our own notebook
    found = {}
    for cell in code(path):
        if {"exercise", "given"} & set(solved.tags(cell)):
            run(sources.get(cell["id"], cell["source"]), cell["id"], names)
        elif "check" in solved.tags(cell):
            *before, last = cell["source"].strip().splitlines()
            exec("\n".join(before), names)  # noqa: S102 - as above
            found[cell["id"]] = eval(last, names)  # noqa: S307 - as above
    return found


@every
@pytest.mark.parametrize("state", ["todo", "solved", "wrong"])
def test_exercises(path: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_SEED", "4")
    for name, verdict in verdicts(path, state).items():
        assert verdict.words().startswith(solved.VERDICTS[state]), f"{name}: {verdict.words()}"
