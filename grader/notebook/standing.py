"""Where a learner stands in all labs, from the history: for a cell, and for the course's page in JupyterLab."""

from __future__ import annotations

from typing import Any

from grader import workspace
from grader.course import Chapter, Course
from grader.figures import Progress
from grader.history import History


def rows() -> list[dict[str, Any]]:
    """Give number, title, best points, points that can be had, and the last outcome of every lab."""
    standings = History().standings(workspace.service())
    return [_row(chapter, standings.get(chapter.number)) for chapter in Course().labs]


def _row(chapter: Chapter, standing: Any) -> dict[str, Any]:  # noqa: ANN401 - a Standing or None
    most = sum(check.points for check in chapter.checks)
    return {
        "number": chapter.number,
        "stem": chapter.stem,
        "title": chapter.title.partition(":")[0],
        "points": min(standing.best, most) if standing else 0,
        "max_points": most,
        "outcome": str(standing.outcome) if standing else "",
    }


def progress() -> Progress:
    """Show the best result of every lab, and which one is next."""
    return Progress(rows())
