"""The commands behind `course`: each takes the words after its name and returns an exit code."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from grader import backup, starter, workspace
from grader.cli import Parser
from grader.course import ROOT, Course

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

SOURCE = ROOT / "solutions" / "service"


def catch_up(words: Sequence[str]) -> int:
    """Bring the learner's service to the state after a lab."""
    parser = Parser(prog="course catch-up", description="Bring your service to the state after a lab.")
    parser.add_argument("lab", type=_lab, help="its number; 0 brings the starter back")
    lab = parser.parse_args(words).lab
    with rendered(range(1, lab + 1)) as source:
        return _bring(source, sorted(starter.files(source)), f"as after lab {lab}" if lab else "as it came")


def reset(words: Sequence[str]) -> int:
    """Put files of the learner's service back to how they came, or to how a lab found them."""
    parser = Parser(prog="course reset", description="Put files of your service back to how they came.")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("files", nargs="*", metavar="FILE", default=[], help="files or folders of labs/service")
    choice.add_argument("--lab", type=_lab, help="all that the lab asks you to write, earlier labs solved")
    choice.add_argument("--all", action="store_true", help="the whole service")
    options = parser.parse_args(words)
    solved = range(1, options.lab) if options.lab else ()
    with rendered(solved) as source:
        paths = sorted(starter.files(source))
        if options.lab:
            paths = [path for path in paths if options.lab in starter.labs_in(SOURCE / path)]
        elif options.files:
            paths = [path for name in options.files for path in _named(name, paths)]
        return _bring(source, paths, f"as lab {options.lab} begins" if options.lab else "as it came")


def restore(words: Sequence[str]) -> int:
    """Bring back what `catch-up`, `reset` or `restore` itself replaced."""
    parser = Parser(prog="course restore", description="Bring back what another command replaced: the latest backup.")
    parser.add_argument("backup", nargs="?", help="the name of an earlier one")
    parser.add_argument("--list", action="store_true", help="show all backups")
    options = parser.parse_args(words)
    found = {folder.name: folder for folder in backup.kept(_backups())}
    if options.list or not found:
        for name, folder in found.items():
            print(f"{name}  {', '.join(map(str, backup.files_in(folder)))}")
        print("" if found else "There are no backups: nothing of yours was ever replaced.", end="" if found else "\n")
        return 0
    name = options.backup or next(iter(found))
    if name not in found:
        parser.error(f"there is no backup {name}; `course restore --list` shows them all")
    return _bring(found[name], backup.files_in(found[name]), f"from {name}")


def render(words: Sequence[str]) -> int:
    """Write the service with some labs solved into a folder of its own."""
    parser = Parser(prog="course render", description="Write the service with some labs solved into an empty folder.")
    parser.add_argument("--solved", type=_labs, default=frozenset(), metavar="1,2", help="numbers and ranges")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(words)
    if options.folder.exists() and (not options.folder.is_dir() or any(options.folder.iterdir())):
        parser.error(f"{options.folder} is not an empty folder")
    paths = starter.render_tree(SOURCE, options.folder, options.solved)
    print(f"{len(paths)} files in {options.folder}")
    return 0


def sync(words: Sequence[str]) -> int:
    """Write anew what comes from elsewhere: the starter, and the passages of README and briefs."""
    parser = Parser(prog="course sync", description="Write labs/service, and what README and briefs take from checks.")
    parser.add_argument("--force", action="store_true", help="also when somebody has worked in labs/service")
    options = parser.parse_args(words)
    from grader import consistency, documents  # noqa: PLC0415 - imports every check, which no other command needs

    for path, text in documents.written(Course()).items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: written from the checks")
    if consistency.touched() and not options.force:
        print("labs/service holds work that is not committed; `course sync --force` replaces it.", file=sys.stderr)
        return 1
    with rendered(()) as source:
        service, paths = ROOT / workspace.SERVICE, sorted(starter.files(source))
        extra = sorted(set(starter.files(service)) - set(paths)) if service.is_dir() else []
        _tell(backup.remove(service, extra, _backups()), "not in solutions/service, taken out")
        _tell(backup.bring(service, source, paths, _backups()), "as solutions/service has it")
    return 0


def check(words: Sequence[str]) -> int:
    """Prove that labs, briefs, notebooks, starter and checks agree."""
    Parser("course check", description="Prove that labs, briefs, notebooks, starter and checks agree.").parse_args(
        words
    )
    from grader import consistency  # noqa: PLC0415 - imports every check, which no other command needs

    course = Course()
    faults = list(consistency.faults(course))
    for fault in faults:
        print(fault)
    total = sum(len(chapter.checks) for chapter in course.labs)
    print(f"{len(course.labs)} labs, {total} checks: {f'{len(faults)} faults' if faults else 'all agree'}")
    return 1 if faults else 0


def serve(words: Sequence[str]) -> int:
    """Run the learner's service with a Redis and a model of its own."""
    from grader.playground import main  # noqa: PLC0415 - starts servers

    return main(words)


@contextmanager
def rendered(solved: Collection[int]) -> Iterator[Path]:
    """Have the service with some labs solved in a folder that goes away again."""
    with tempfile.TemporaryDirectory() as folder:
        starter.render_tree(SOURCE, Path(folder), solved)
        yield Path(folder)


def _named(name: str, paths: Sequence[Path]) -> list[Path]:
    """Return what a learner means by a path: seen from the service or from where they stand, a file or a folder."""
    service = workspace.root() / workspace.SERVICE
    for seen in (service / name, Path.cwd() / name):
        if seen.absolute().is_relative_to(service):
            meant = seen.absolute().relative_to(service)
            if found := [path for path in paths if path.is_relative_to(meant)]:
                return found
    print(f"course reset: no file {name} came with the service; there are {_words(paths)}", file=sys.stderr)
    raise SystemExit(2)


def _bring(source: Path, paths: Sequence[Path], how: str) -> int:
    """Write files into the learner's service and tell what happened."""
    change = backup.bring(workspace.root() / workspace.SERVICE, source, paths, _backups())
    if not change.written:
        print(f"Nothing to do: {len(paths)} files are {how} already.")
    _tell(change, how)
    if change.backup:
        print("`course restore` brings your version back.")
    return 0


def _tell(change: backup.Change, how: str) -> None:
    for path in change.written:
        print(f"{workspace.SERVICE / path}: {how}")
    if change.backup:
        print(f"Your version is kept in {workspace.short(change.backup)}.")


def _backups() -> Path:
    return workspace.home() / "backups"


def _lab(text: str) -> int:
    """Read a lab's number."""
    numbers = {chapter.number for chapter in Course().labs}
    numbers.update(*(starter.labs_in(SOURCE / path) for path in starter.files(SOURCE)))
    if not text.isdecimal() or int(text) not in {0, *numbers}:
        raise argparse.ArgumentTypeError(f"there is no lab {text}; there are {_words(sorted(numbers))}")
    return int(text)


def _labs(text: str) -> frozenset[int]:
    """Read numbers and ranges: ``1,2`` or ``1-3,5``; nothing means none."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(_lab(first), _lab(last or first) + 1))
    return frozenset(found)


def _words(things: Sequence[object]) -> str:
    return ", ".join(map(str, things))
