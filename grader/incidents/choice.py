"""Choice: which case a command of ``course incident`` is about."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grader.incidents import scene
from grader.incidents.case import Case
from grader.incidents.catalogue import INCIDENTS, named

if TYPE_CHECKING:
    from grader.cli import Parser


def case_named(parser: Parser, name: str) -> Case:
    """Return a case by its name; ends with exit code 2 when there is none."""
    try:
        return Case(named(name))
    except KeyError:
        parser.error(f"there is no incident {name}; there are {', '.join(each.name for each in INCIDENTS)}")


def add_name(parser: Parser) -> None:
    """Let a command be about another case than the latest."""
    parser.add_argument("incident", nargs="?", metavar="NAME", help="of which incident (default: the latest)")


def case_of(parser: Parser, words: Sequence[str]) -> Case:
    """Parse the name of an incident, and nothing else, and return its case."""
    add_name(parser)
    return chosen(parser, parser.parse_args(words).incident)


def chosen(parser: Parser, name: str | None) -> Case:
    """Return the case that is named, else the one that runs, else the latest. Raises ``NotRunningError``."""
    if name:
        return case_named(parser, name)
    with contextlib.suppress(scene.NotRunningError):
        return Case(named(scene.current().incident))
    begun = [(case.events()[-1].at, case) for case in map(Case, INCIDENTS) if case.events()]
    if not begun:
        raise scene.NotRunningError("no incident has begun; `course incident list` shows them")
    return max(begun, key=lambda each: each[0])[1]
