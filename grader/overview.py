"""Overview: the short tables of `grade doctor` and `grade list`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from grader import workspace
from grader.course import Course
from grader.formats.sentences import MARKS, WORDS
from grader.history import History, Standing


def doctor(arguments: Sequence[str]) -> int:
    """Print each part that grading needs: where it was found, its version, and what to do when it was not."""
    argparse.ArgumentParser("grade doctor", description=doctor.__doc__).parse_args(arguments)
    from grader.doctor import doctor as examine  # noqa: PLC0415 - looks at every part, which --help must not pay for

    parts = examine()
    width = max((len(part.name) for part in parts), default=0)
    for part in parts:
        words = [part.version, part.source, part.detail]
        print(f"{'✓ found  ' if part.ok else '✗ MISSING'}  {part.name:<{width}}  {' · '.join(filter(None, words))}")
        if not part.ok and part.remedy:
            print(f"{'':<{width + 13}}{part.remedy}")
    missing = sum(not part.ok for part in parts)
    print(f"\n{missing} of {len(parts)} parts missing." if missing else "\nAll parts are there.")
    return 1 if missing else 0


def show_labs(arguments: Sequence[str]) -> int:
    """Print the labs that are built and where you stand in each."""
    argparse.ArgumentParser("grade list", description=show_labs.__doc__).parse_args(arguments)
    history = History()
    standings = history.standings(workspace.service())
    for lab in Course().labs:
        print(f"{lab.number:>3}  {lab.slug:<16}  {_standing(standings.get(lab.number)):<17}  {lab.title}")
    for note in history.notes:
        print(note)
    return 0


def _standing(standing: Standing | None) -> str:
    if standing is None:
        return "not graded yet"
    points = f"{standing.points}/{standing.max_points}"
    return f"{MARKS[standing.outcome]} {WORDS[standing.outcome]:<6} {points}"
