"""Grading beside a kernel: a process that keeps its servers warm and answers requests, one JSON object a line.

A request is `{"labs": ["4"], "only": [names], "load": bool, "seed": int, "service": path}`; the answers are events,
each with its `event`, of which the last is `report` or `problem`. The process ends when its socket is closed.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from grader import runner
from grader.course import Course
from grader.grade_command import SEEDS
from grader.parts import PartFailedError, PartMissingError
from grader.selection import UnknownLabError, select
from grader.submission import BadSubmissionError
from grader.worker import Workshop
from grader.workshop import start_workshop

if TYPE_CHECKING:
    from grader.report import CheckResult, Report


class Told:
    """Tells a run's progress as lines of JSON. A `Progress`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def tell(self, event: str, **facts: object) -> None:
        """Write one event."""
        self._stream.write(json.dumps({"event": event, **facts}, default=str) + "\n")
        self._stream.flush()

    def phase(self, name: str) -> None:
        """Tell which part of the run begins."""
        self.tell("phase", name=name)

    def lab_started(self, number: int, slug: str, title: str, checks: int) -> None:
        """Tell that a lab begins."""
        self.tell("lab", number=number, title=title or slug, checks=checks)

    def check_started(self, lab: int, name: str, promise: str) -> None:
        """Tell that a check begins."""
        self.tell("started", lab=lab, name=name, promise=promise)

    def check_finished(self, result: CheckResult) -> None:
        """Tell how a check ended."""
        self.tell("finished", **{name: asdict(result)[name] for name in ("lab", "name", "outcome", "points")})

    def finished(self, report: Report) -> None:
        """The report is told by whoever asked for it."""


class AskedInVainError(Exception):
    """The request cannot be carried out; the text says why."""


def main(number: int) -> None:
    """Answer requests on an inherited socket until it is closed."""
    with (
        socket.socket(fileno=number) as channel,
        channel.makefile("r", encoding="utf-8") as asked,
        channel.makefile("w", encoding="utf-8") as told,
        tempfile.TemporaryDirectory(prefix="grade-") as folder,
        start_workshop(Path(folder), 0) as workshop,
    ):
        for line in asked:
            _answer(json.loads(line), Told(told), workshop)


def _answer(asked: Mapping[str, Any], told: Told, workshop: Workshop) -> None:
    try:
        told.tell("report", report=_graded(asked, told, workshop).to_dict())
    except (AskedInVainError, UnknownLabError, BadSubmissionError, PartMissingError, PartFailedError) as problem:
        told.tell("problem", text=" ".join(str(problem).split()))
    except Exception as problem:  # noqa: BLE001 - the kernel must hear of it, and the next request must be answered
        told.tell("problem", text=f"The grader itself failed: {type(problem).__name__}: {problem}")


def _graded(asked: Mapping[str, Any], told: Told, workshop: Workshop) -> Report:
    course = Course()
    labs = select(asked["labs"], {lab.number: lab.slug for lab in course.labs})
    seed = random.randrange(SEEDS) if asked["seed"] is None else asked["seed"]
    only = _known(course, labs, asked["only"])
    return runner.grade(
        Path(asked["service"]), labs, seed=seed, load=asked["load"], jobs=0, progress=told, only=only, shared=workshop
    )


def _known(course: Course, labs: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the names of checks, as the labs have them."""
    known = [check.name for number in labs for check in course.lab(number).checks]
    for name in names:
        if name not in known:
            labs_named = ", ".join(map(str, labs))
            raise AskedInVainError(f"Lab {labs_named} has no check {name!r}; it has {', '.join(known)}")
    return list(names)


if __name__ == "__main__":
    main(int(sys.argv[1]))
