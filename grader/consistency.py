"""Consistency: what must agree for the course to be whole. `course check` prints every fault found here."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from grader import documents, starter
from grader.course import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grader.course import Chapter, Course
    from grader.declaration import Check

SOURCE = ROOT / "solutions" / "service"
STARTER = ROOT / "labs" / "service"


def faults(course: Course) -> Iterator[str]:
    """Yield one sentence for each thing that does not agree."""
    if unread := list(_unreadable(course)):
        yield from unread
        return
    numbers = [chapter.number for chapter in course.labs]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"grader/checks holds labs {numbers}: a number is missing or twice there"
    for chapter in course.labs:
        yield from _lab(chapter)
        for check in chapter.checks:
            yield from (f"lab {chapter.number}, {check.name}: {fault}" for fault in _check(check, chapter.checks))
    yield from _strays(course)
    yield from _documents(course)
    yield from _starter()
    yield from _links()


def _unreadable(course: Course) -> Iterator[str]:
    for chapter in course.labs:
        try:
            _ = chapter.lab
        except (ImportError, AttributeError, SyntaxError) as problem:
            yield f"grader/checks/lab_{chapter.stem}.py cannot be read: {problem}"


def _lab(chapter: Chapter) -> Iterator[str]:
    if chapter.lab.minutes <= 0:
        yield f"lab {chapter.number} says it takes {chapter.lab.minutes} minutes"
    if not chapter.checks:
        yield f"lab {chapter.number} has no checks"
    if not chapter.brief.exists():
        yield f"lab {chapter.number} has no brief: write {chapter.brief.relative_to(ROOT)}"
    elif not chapter.brief.read_text(encoding="utf-8").startswith(f"# Lab {chapter.number} · "):
        yield f"{chapter.brief.relative_to(ROOT)} does not begin with `# Lab {chapter.number} · `"
    if any((ROOT / "notebooks").glob("*.ipynb")) and not chapter.notebook.exists():
        yield f"lab {chapter.number} has no notebook: {chapter.notebook.relative_to(ROOT)} is missing"


def _check(check: Check, others: list[Check]) -> Iterator[str]:
    before = {other.name for other in others if other.line < check.line}
    if not check.promise.endswith("."):
        yield "its docstring, the promise, is no sentence"
    if check.points < 0 or (check.guard and check.points):
        yield f"it carries {check.points} points"
    if not check.hints and check.points:
        yield "it has no hint"
    if missing := set(check.needs) - before:
        yield f"it needs {', '.join(sorted(missing))}, which does not stand before it"


READING = {"00_start_here", "10_incidents"}
"""Notebooks and briefs without checks: exercises are in themselves, incidents have proofs of their own."""


def _strays(course: Course) -> Iterator[str]:
    """Find briefs, notebooks and mutants whose stem no lab has."""
    stems = {chapter.stem for chapter in course.labs}
    found = [*ROOT.glob("labs/[0-9][0-9]_*.md"), *ROOT.glob("notebooks/[0-9][0-9]_*.ipynb")]
    found += ROOT.glob("tests/mutants/lab_[0-9][0-9]_*.py")
    for path in found:
        stem = path.stem.removeprefix("lab_")
        if stem not in stems and path.stem not in READING:
            yield f"{path.relative_to(ROOT)} belongs to no lab: there is no grader/checks/lab_{stem}.py"


def _documents(course: Course) -> Iterator[str]:
    try:
        texts = documents.written(course)
    except documents.NoPlaceError as problem:
        yield str(problem)
        return
    for path, text in texts.items():
        if path.read_text(encoding="utf-8") != text:
            yield f"{path.relative_to(ROOT)} does not say what the checks say: run `course sync`"


def _starter() -> Iterator[str]:
    """Compare labs/service with its source, unless somebody works in it."""
    with tempfile.TemporaryDirectory() as folder:
        rendered = Path(folder)
        try:
            paths = starter.render_tree(SOURCE, rendered, set())
        except starter.MarkerError as problem:
            yield str(problem)
            return
        if touched():
            return
        differing = [path for path in paths if _read(STARTER / path) != _read(rendered / path)]
        differing += sorted(set(starter.files(STARTER)) - set(paths))
        if differing:
            names = ", ".join(map(str, differing[:3])) + (" …" if len(differing) > 3 else "")
            yield f"labs/service is not what solutions/service renders to ({names}): run `course sync`"


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def touched() -> bool:
    """Tell whether labs/service differs from the last commit: then a learner, or an author, works in it."""
    command = ["git", "status", "--porcelain", "--", "labs/service"]
    try:
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return False
    return bool(done.stdout.strip())


def _links() -> Iterator[str]:
    """Find links of our own pages to files that are not there."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("labs/*.md"), *ROOT.glob("solutions/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)} links to {target}, which does not exist"
