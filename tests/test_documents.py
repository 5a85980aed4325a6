"""Documents: README and briefs say what the checks say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grader import documents
from grader.declaration import check, declared_in


@check(points=3, hints=["Hint."])
def check_one() -> None:
    """The first promise,
    over two lines."""


@check(points=1, hints=["Hint."])
def check_two() -> None:
    """The second promise."""


@check(guard=True, hints=["Hint."])
def check_kept() -> None:
    """The kept promise."""


def chapter(*checks: Any, root: Path = Path()) -> Any:
    declared = declared_in(SimpleNamespace(**{one.__name__: one for one in checks}))
    return SimpleNamespace(
        number=1, title="Title", lab=SimpleNamespace(minutes=30), checks=declared, brief=root / "labs/01_x.md"
    )


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course whose only source has something to write for lab 1."""
    (tmp_path / "solutions" / "service" / "app").mkdir(parents=True)
    (tmp_path / "solutions" / "service" / "app" / "main.py").write_text("# BEGIN SOLUTION 1: Greet.\n# END SOLUTION\n")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("places")
def test_a_brief_lists_promises_points_places_and_what_must_stay_true() -> None:
    assert documents.promises(chapter(check_one, check_two, check_kept)) == (
        "2 checks, 4 points, about 30 minutes. The places are marked in `app/main.py`.\n"
        "\n"
        "- The first promise, over two lines. *(3 points)*\n"
        "- The second promise. *(1 point)*\n"
        "\n"
        "Watched, without points:\n"
        "\n"
        "- The kept promise."
    )


def test_the_readme_links_to_the_brief_and_sums_the_points(places: Path) -> None:
    course: Any = SimpleNamespace(labs=[chapter(check_one, check_two, root=places)])
    assert documents.table(course).splitlines()[-1] == "| [1 · Title](labs/01_x.md) | 30 min | 2 | 4 |"


def test_a_passage_is_replaced_and_the_rest_stays() -> None:
    text = "before\n<!-- labs -->\nold\n<!-- /labs -->\nafter\n"
    filled = documents.fill(text, "labs", r"new \1", name="x.md")
    assert filled == "before\n<!-- labs -->\n\nnew \\1\n\n<!-- /labs -->\nafter\n"
    assert documents.fill(filled, "labs", r"new \1", name="x.md") == filled


def test_a_document_without_the_place_is_named() -> None:
    with pytest.raises(documents.NoPlaceError, match=r"x\.md has no place between"):
        documents.fill("text\n", "labs", "new", name="x.md")
