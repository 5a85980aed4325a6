"""What `grade` does with its options: choose labs, run, remember, write."""

from __future__ import annotations

import os
import random
import shlex
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from grader import workspace
from grader.course import Course
from grader.formats import SUFFIXES, View, render
from grader.formats.visible import visible, visible_report
from grader.hints import next_hint
from grader.history import History
from grader.parts import PartFailedError, PartMissingError
from grader.sandbox import CannotIsolateError, take_network
from grader.selection import UnknownLabError, select
from grader.submission import BadSubmissionError

if TYPE_CHECKING:
    from grader.report import Report

OFF = "off: the service ran as the grader's user, within limits"
"""What a report says of a run that was told not to isolate."""

SEEDS = 1_000_000
"""Seeds are short, so that they can be read out to somebody."""


_CAUSES = (BadSubmissionError, PartMissingError, PartFailedError)
"""What the runner raises when it cannot grade, and says well enough."""


class UsageError(Exception):
    """The command cannot be carried out; the text says why and what to do."""


class Target(NamedTuple):
    """A file to write the report into."""

    path: Path
    format: str


def run(options: Namespace) -> int:
    """Grade and report. What cannot be done is one line on stderr and exit code 2."""
    try:
        return _run(options)
    except (UsageError, UnknownLabError, CannotIsolateError, *_CAUSES) as problem:
        print(f"grade: {visible(' '.join(str(problem).split()))}", file=sys.stderr)
        return 2


def _run(options: Namespace) -> int:
    course = Course()
    labs = select(options.labs, {lab.number: lab.slug for lab in course.labs})
    if options.target:
        return _run_outside(options, labs)
    service = _service(options.service)
    if options.load_ui:
        return _open_load_page(service)
    targets = [_target(name, options.format) for name in options.output]
    seed = random.randrange(SEEDS) if options.seed is None else options.seed
    report = _grade(service, labs, seed, options)
    report = replace(report, submission=workspace.short(service), command=_command(options, seed))
    history = History()
    history.record(service, report)
    hint = next_hint(report, history, service) if options.hint else ""
    shown = history.hints(service)
    report = replace(report, notes=(*report.notes, *filter(None, [hint, *history.notes])))
    files = tuple(str(target.path) for target in targets)
    view = View(options.verbose, shown, _following(course, labs), _service_option(options), files=files)
    for target in targets:
        _write(target, report, view)
    _print(report, view, "terminal" if targets else options.format or "terminal")
    return report.exit_code


def _run_outside(options: Namespace, labs: Sequence[int]) -> int:
    from grader.outside import TargetError  # noqa: PLC0415 - for those who ask for it
    from grader.outside_command import grade_target  # noqa: PLC0415 - as above

    files = [_target(name, options.format) for name in options.output]
    seed = random.randrange(SEEDS) if options.seed is None else options.seed
    try:
        report = grade_target(options, labs, seed)
    except TargetError as problem:
        raise UsageError(str(problem)) from None
    view = View(options.verbose, files=tuple(str(file.path) for file in files))
    for file in files:
        _write(file, report, view)
    _print(report, view, "terminal" if files else options.format or "terminal")
    return report.exit_code


def _open_load_page(service: Path) -> int:
    from grader.load_page import serve  # noqa: PLC0415 - for those who ask for it

    problem = serve(service)
    if problem is None:
        return 0
    place = f" ({problem.place})" if problem.place else ""
    raise UsageError(f"the service does not start: {problem.detail or problem.cause}{place}")


def _service(named: str | None) -> Path:
    folder = Path(named).expanduser() if named else workspace.service()
    if folder.is_dir():
        return folder
    what = "is not a folder" if folder.exists() else "does not exist"
    raise UsageError(f"the service {folder} {what}; name the folder that holds app/ with --service DIR")


def _target(name: str, chosen: str | None) -> Target:
    """Tell where and how to write, before anybody waits for a run that could not be written."""
    path = Path(name).expanduser()
    format = chosen or SUFFIXES.get(path.suffix.lower())  # noqa: A001 - the option's own word
    if not format:
        raise UsageError(f"what format is {name}? End it in {', '.join(SUFFIXES)}, or add --format")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{name} cannot be written; name a file in a folder that exists")
    return Target(path, format)


def _grade(service: Path, labs: Sequence[int], seed: int, options: Namespace) -> Report:
    from grader import runner  # noqa: PLC0415 - bad input is answered before the runner is loaded
    from grader.formats.screen import progress  # noqa: PLC0415

    jobs, isolate = options.jobs or 0, options.isolate == "strangers"
    try:
        network = _network() if isolate else {}
        with progress() as watcher:
            report = runner.grade(
                service, labs, seed=seed, load=options.load, jobs=jobs, progress=watcher, isolate=isolate
            )
    except (CannotIsolateError, *_CAUSES):
        raise
    except Exception as problem:
        where = _keep_trace()
        raise UsageError(f"the grader itself failed: {type(problem).__name__}: {problem}{where}") from problem
    guards = {**report.guards, **network}
    return replace(report, guards=guards | {"isolation": OFF} if options.isolate == "off" else guards)


def _network() -> dict[str, str]:
    """Leave the machine's network, where that can be done."""
    return {"network": "the run's own" if take_network() else "the machine's, but no port except the run's servers"}


def grade_for_audit(named: str | None, labs: Sequence[int]) -> Report:
    """Grade without load checks and without remembering. Raises as ``run`` reports."""
    return _grade(_service(named), labs, random.randrange(SEEDS), Namespace(load=False, jobs=None, isolate=None))


def _keep_trace() -> str:
    """Keep the traceback for whoever mends the grader; the learner need not see it."""
    path = workspace.home() / "last-error.txt"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
        return f"; please report it with {workspace.short(path)}"
    return ""


def _write(target: Target, report: Report, view: View) -> None:
    """Write a file whole or not at all."""
    base = os.path.relpath(workspace.root(), target.path.resolve().parent)
    text = render(report, target.format, replace(view, base=f"{base}/"))
    part = target.path.with_name(f".{target.path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target.path)
    except OSError as problem:
        raise UsageError(f"{target.path} could not be written: {problem.strerror}") from problem
    finally:
        part.unlink(missing_ok=True)


def _print(report: Report, view: View, format: str) -> None:  # noqa: A002 - the option's own word
    if format != "terminal":
        sys.stdout.write(render(report, format, view))
        return
    from grader.formats.screen import screen  # noqa: PLC0415 - rich is for the terminal only
    from grader.formats.terminal import show  # noqa: PLC0415

    show(visible_report(report), view, screen(sys.stdout))


def _command(options: Namespace, seed: int) -> str:
    words = ["grade", *options.labs, *shlex.split(_service_option(options)), *([] if options.load else ["--no-load"])]
    isolation = [f"--isolate={options.isolate}"] if options.isolate else []
    return shlex.join([*words, *isolation, "--seed", str(seed)])


def _service_option(options: Namespace) -> str:
    return shlex.join(["--service", options.service]) if options.service else ""


def _following(course: Course, labs: Sequence[int]) -> str:
    """Name the lab after those graded, if it is built."""
    return next((lab.stem for lab in course.labs if lab.number > max(labs)), "")
