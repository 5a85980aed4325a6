"""Diagnosis: hints, what could explain a page, and the learner's answer to that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grader import workspace
from grader.cli import Parser
from grader.incidents.case import FOUND_POINTS
from grader.incidents.choice import add_name, case_of, chosen

if TYPE_CHECKING:
    from collections.abc import Sequence


def hint(words: Sequence[str]) -> int:
    """Show one more hint."""
    case = case_of(Parser(prog="course incident hint", description="Show one more hint; it costs nothing."), words)
    hints = case.incident.story.hints
    if case.hints >= len(hints):
        print("\n".join(hints) + "\nThat was all. `course incident solution` tells the rest.")
        return 0
    case.note("hint", str(case.hints + 1))
    print(f"{hints[case.hints - 1]} ({len(hints) - case.hints} left)")
    return 0


def causes(words: Sequence[str]) -> int:
    """List what could explain the page."""
    case = case_of(Parser(prog="course incident causes", description="List what could explain the page."), words)
    for name in case.incident.story.shuffled():
        print(f"  {name:<18} {case.incident.story.causes[name].what}")
    print(f"course incident found NAME takes one; a wrong one costs a point of {FOUND_POINTS}.")
    return 0


def found(words: Sequence[str]) -> int:
    """Take the learner's diagnosis."""
    parser = Parser(prog="course incident found", description="Name the cause.")
    parser.add_argument("cause", help="course incident causes lists them")
    add_name(parser)
    options = parser.parse_args(words)
    case = chosen(parser, options.incident)
    story = case.incident.story
    if options.cause not in story.causes:
        parser.error(f"{case.incident.name} has no cause {options.cause}; there are {', '.join(story.shuffled())}")
    cause = story.causes[options.cause]
    if options.cause != story.cause:
        case.note("wrong guess", options.cause)
        print(f"No: {cause.evidence}")
        return 1
    if not case.found:
        case.note("found", options.cause)
    print(f"Yes: {cause.what}\nWhat shows it: {cause.evidence}")
    print(f"Now mend it in {workspace.short(case.folder)}, then: course incident prove")
    return 0


def solution(words: Sequence[str]) -> int:
    """Tell what it was."""
    case = case_of(Parser(prog="course incident solution", description="Tell the cause and a mend."), words)
    incident = case.incident
    case.note("solution")
    print(f"{incident.story.true.what}\n{incident.story.true.evidence}\n{incident.story.mend}")
    for edit in incident.edits:
        print(f"\n{edit.file}")
        print(
            "\n".join([f"- {line}" for line in edit.new.splitlines()] + [f"+ {line}" for line in edit.old.splitlines()])
        )
    return 0
