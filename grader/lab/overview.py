"""The course's overview: sections, where the learner stands, what is next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from grader import workspace
from grader.formats.element import Child, element
from grader.notebook.standing import rows

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TILES = (
    ("docs", "Service documentation", "Try every route of your running service."),
    ("model", "The model", "Calls as they come, the bill, and switches to break it."),
    ("report", "Last report", "What the last %grade found, printable."),
)


def overview(base: str, *, running: bool) -> Iterator[Child]:
    """Give the page's content."""
    standing = rows()
    points, most = sum(row["points"] for row in standing), sum(row["max_points"] for row in standing)
    ahead = next((row for row in standing if row["points"] < row["max_points"]), None)
    yield element("h1", "From prototype to production")
    yield element("p", element("strong", f"{points} of {most} points"), ". ", *_next(base, ahead), class_="lead")
    yield element("progress", f"{points} of {most}", value=points, max=most or 1, aria_label="points of all labs")
    yield element("ol", (_row(base, row, ahead) for row in [_start(), *standing]), class_="sections", start=0)
    yield element("p", "A service is running." if running else "No service is running.", class_="soft")
    yield element("ul", (_tile(base, *tile) for tile in TILES), class_="tiles")


def _start() -> dict[str, Any]:
    return {"number": 0, "stem": "00_start_here", "title": "Start here", "points": 0, "max_points": 0}


def _next(base: str, ahead: dict[str, Any] | None) -> list[Child]:
    if ahead is None:
        return ["Every check passes."]
    return ["Next: ", _link(base, ahead, f"lab {ahead['number']}, {ahead['title']}"), "."]


def _link(base: str, row: dict[str, Any], text: str) -> Element:
    return element("a", text, href=f"{base}lab/workspaces/lab-{row['number']:02}", target="_top")


def _row(base: str, row: dict[str, Any], ahead: dict[str, Any] | None) -> Element:
    written = (workspace.root() / "notebooks" / f"{row['stem']}.ipynb").exists()
    title = _link(base, row, row["title"]) if written else element("span", row["title"])
    done = row["max_points"] and row["points"] == row["max_points"]
    mark = "✓ done" if done else "next" if row is ahead else ""
    score: list[Child] = []
    if row["max_points"]:
        name = f"points of lab {row['number']}"
        text = f"{row['points']}/{row['max_points']}"
        score = [
            element("progress", text, value=row["points"], max=row["max_points"], aria_label=name),
            element("span", text, class_="number"),
        ]
    return element(
        "li",
        element("span", str(row["number"]), class_="number soft"),
        title,
        element("span", mark, class_="mark"),
        *score,
        class_="next" if row is ahead else None,
    )


def _tile(base: str, path: str, title: str, what: str) -> Element:
    return element("li", element("a", title, href=f"{base}course/{path}"), element("span", what, class_="soft"))
