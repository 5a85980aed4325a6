"""A second opinion on the checks: ``python benchmarks/random_mutation.py [--count N] [--seed N]``.

The faults of ``tests/mutants`` were thought up; these are drawn. Cosmic Ray lists every small change that it could make
to the finished service, some are drawn by a seed, each is graded by the labs that write in its file, and whatever
survives that by all others. What was graded is kept in ``.course/random_mutation.jsonl``; a run that was broken off
goes on where it was. The results stand in ``benchmarks/random_mutation.md``.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from grader import workspace
from grader.course import ROOT, Course
from grader.report import Report
from grader.starter import labs_in
from tests.grading import Grading, failed, open_grading
from tests.mutants import SOLUTION

DOCUMENT = ROOT / "benchmarks" / "random_mutation.md"
TOOL = "cosmic-ray==8.7.0"
SETTINGS = """[cosmic-ray]
module-path = "app"
timeout = 10
excluded-modules = []
test-command = "true"
[cosmic-ray.distributor]
name = "local"
"""
START = "<!-- random mutation -->"
END = "<!-- /random mutation -->"


@dataclass(frozen=True, order=True)
class Place:
    """Where a change can be made, and Cosmic Ray's name for it."""

    file: str
    line: int
    column: int
    operator: str
    occurrence: int

    def __str__(self) -> str:
        """Name it in a line."""
        return f"{self.file}:{self.line} {self.operator.removeprefix('core/')} {self.occurrence}"


@dataclass(frozen=True)
class Fate:
    """What became of a change: the checks that failed, or why the service did not start."""

    place: str
    change: str
    caught_by: tuple[str, ...] = ()
    elsewhere: bool = False
    problem: str = ""
    undecided: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """One word or two for the table."""
        if self.problem:
            return "does not start"
        if self.caught_by:
            return "caught by other labs" if self.elsewhere else "caught by the labs of its file"
        return "survived"


def cosmic_ray(*words: str, folder: Path) -> str:
    """Run Cosmic Ray in an environment of its own, and return what it says."""
    command = [str(Path(sys.executable).with_name("uv")), "tool", "run", "--from", TOOL, "cosmic-ray", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def places(folder: Path) -> list[Place]:
    """List all changes to the service that could make a difference, in a fixed order."""
    shutil.copytree(SOLUTION / "app", folder / "app")
    (folder / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    cosmic_ray("init", "settings.toml", "session.sqlite", folder=folder)
    items = [json.loads(line)[0] for line in cosmic_ray("dump", "session.sqlite", folder=folder).splitlines()]
    found = [
        Place(each["module_path"], start[0], start[1], each["operator_name"], each["occurrence"])
        for item in items
        for each in item["mutations"]
        for start in [each["start_pos"]]
    ]
    unread = {path: in_annotations(folder / path) for path in {each.file for each in found}}
    return sorted(each for each in found if (each.line, each.column) not in unread[each.file])


def in_annotations(path: Path) -> set[tuple[int, int]]:
    """Find the places inside annotations: ``X | None`` is an operator to a tool, and nothing to the interpreter."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None and part.lineno == part.end_lineno:
                found |= {(part.lineno, column) for column in range(part.col_offset, part.end_col_offset)}
    return found


def draw(found: list[Place], count: int, seed: int) -> list[Place]:
    """Draw changes at different places of the text, so that an operator with many replacements counts once."""
    chance = random.Random(seed)
    sites: dict[tuple[str, int, int], list[Place]] = {}
    for place in found:
        sites.setdefault((place.file, place.line, place.column), []).append(place)
    chosen = chance.sample(sorted(sites), min(count, len(sites)))
    return [chance.choice(sites[site]) for site in chosen]


@contextlib.contextmanager
def changed(place: Place) -> Iterator[Path]:
    """Copy the service, and make the change."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        folder = Path(scratch, "service")
        shutil.copytree(SOLUTION, folder)
        cosmic_ray("apply", place.file, place.operator, str(place.occurrence), folder=folder)
        yield folder


def judge(place: Place, grading: Grading) -> Fate:
    """Grade a change: by the labs of its file, then by all others."""
    with changed(place) as folder:
        old, new = (Path(home, place.file).read_text(encoding="utf-8").splitlines() for home in (SOLUTION, folder))
        lines = [line for line in difflib.unified_diff(old, new, lineterm="", n=0) if line[:3] not in {"---", "+++"}]
        change = "\n".join(line for line in lines if not line.startswith("@@"))
        home = sorted(labs_in(SOLUTION / place.file))
        others = [lab.number for lab in Course().labs if lab.number not in home]
        undecided: tuple[str, ...] = ()
        for labs in filter(None, (home, others)):
            report = grading(folder, labs)
            if report.problem:
                return Fate(str(place), change, problem=f"{report.problem.cause} {report.problem.detail}"[:200])
            undecided += unclear(report)
            if found := failed(report):
                return Fate(str(place), change, tuple(sorted(found)), labs is others, undecided=undecided)
    return Fate(str(place), change, undecided=undecided)


def unclear(report: Report) -> tuple[str, ...]:
    """Name the checks that could not tell."""
    return tuple(one.name for one in report.checks if one.undecided and not one.waived)


def kept(ledger: Path) -> dict[str, Fate]:
    """Read what was graded before."""
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    found = [Fate(**json.loads(line)) for line in lines]
    return {fate.place: fate for fate in found}


def write(fates: list[Fate], total: int, options: argparse.Namespace, document: Path) -> None:
    """Write the figures and the survivors between the marks of the document."""
    counts = Counter(fate.kind for fate in fates)
    kinds = ["caught by the labs of its file", "caught by other labs", "does not start", "survived"]
    lines = [
        f"Drawn by seed {options.seed} from {total:,} places: {len(fates)} of {options.count} graded.",
        "",
        "| what became of it | changes |",
        "|---|--:|",
        *(f"| {kind} | {counts[kind]} |" for kind in kinds),
        "",
        "Survivors:",
        "",
    ]
    for fate in sorted((one for one in fates if one.kind == "survived"), key=lambda one: one.place):
        unsure = f" (could not tell: {', '.join(fate.undecided)})" if fate.undecided else ""
        lines += [f"`{fate.place}`{unsure}", "", "```diff", fate.change, "```", ""]
    old = document.read_text(encoding="utf-8") if document.exists() else f"{START}\n{END}\n"
    head, tail = old.partition(START)[0], old.partition(END)[2]
    document.write_text(f"{head}{START}\n\n" + "\n".join(lines) + f"{END}{tail}", encoding="utf-8")


def main() -> None:
    """Grade what was drawn, and write what survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=60, metavar="N", help="how many changes (default: 60)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="draws them (default: 1)")
    options = parser.parse_args()
    ledger = workspace.home() / "random_mutation.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    known = kept(ledger)
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as scratch, open_grading() as grading:
        found = places(Path(scratch))
        total = len({(place.file, place.line, place.column) for place in found})
        fates: list[Fate] = []
        for place in draw(found, options.count, options.seed):
            fate = known.get(str(place)) or judge(place, grading)
            fates.append(fate)
            if str(place) not in known:
                with ledger.open("a", encoding="utf-8") as file:
                    print(json.dumps(asdict(fate)), file=file)
            write(fates, total, options, DOCUMENT)
            print(summary(fate), flush=True)


def summary(fate: Fate) -> str:
    """Say what became of a change, in a line."""
    return f"{fate.kind:30} {fate.place}  {', '.join(fate.caught_by[:3]) or fate.problem}"


if __name__ == "__main__":
    main()
