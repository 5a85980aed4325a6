"""Documents: the passages of README and briefs that are written from the checks, so that nothing is listed twice."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from grader import starter
from grader.course import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from grader.course import Chapter, Course
    from grader.declaration import Check


class NoPlaceError(ValueError):
    """A document lacks the two comments between which a passage belongs."""


def written(course: Course) -> dict[Path, str]:
    """Return each document that holds a passage of ours, as it should read. Raises ``NoPlaceError``.

    A brief that does not exist is left out.
    """
    readme = ROOT / "README.md"
    texts = {readme: fill(readme.read_text(encoding="utf-8"), "labs", table(course), name=readme.name)}
    for chapter in course.labs:
        if chapter.brief.exists():
            text = chapter.brief.read_text(encoding="utf-8")
            texts[chapter.brief] = fill(text, "checks", promises(chapter), name=chapter.brief.name)
    return texts


def fill(text: str, passage: str, content: str, *, name: str) -> str:
    """Put `content` between `<!-- passage -->` and `<!-- /passage -->`. Raises ``NoPlaceError``."""
    start, end = f"<!-- {passage} -->", f"<!-- /{passage} -->"
    filled, places = re.subn(
        rf"{start}\n.*?{end}", lambda _: f"{start}\n\n{content}\n\n{end}", text, count=1, flags=re.DOTALL
    )
    if not places:
        raise NoPlaceError(f"{name} has no place between `{start}` and `{end}`")
    return filled


def table(course: Course) -> str:
    """Return the README's table of labs."""
    rows = ["| lab | time | checks | points |", "|---|--:|--:|--:|"]
    rows += [_row(chapter) for chapter in course.labs]
    return "\n".join(rows)


def _row(chapter: Chapter) -> str:
    link = f"[{chapter.number} · {chapter.title}]({os.path.relpath(chapter.brief, ROOT)})"
    points = sum(check.points for check in chapter.checks)
    return f"| {link} | {chapter.lab.minutes} min | {len(chapter.checks)} | {points} |"


def promises(chapter: Chapter) -> str:
    """Return a brief's list of what is checked, in the checks' own sentences."""
    graded = [check for check in chapter.checks if check.points]
    watched = [check for check in chapter.checks if not check.points]
    size = f"{_plural(len(graded), 'check')}, {_points(graded)}, about {chapter.lab.minutes} minutes."
    lines = [size + _places(chapter.number), "", *(f"- {check.promise} *({_points([check])})*" for check in graded)]
    if watched:
        lines += ["", "Watched, without points:", "", *(f"- {check.promise}" for check in watched)]
    return "\n".join(lines)


def _places(number: int) -> str:
    """Name the files in which a lab has something to write."""
    source = ROOT / "solutions" / "service"
    found = [f"`{path}`" for path in sorted(starter.files(source)) if number in starter.labs_in(source / path)]
    return f" The places are marked in {', '.join(found)}." if found else ""


def _points(checks: Sequence[Check]) -> str:
    return _plural(sum(check.points for check in checks), "point")


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
