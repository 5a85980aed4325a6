"""`course prove`: grades services whose verdicts are known, and says what got through.

The services are part of the repository's tests, so this command needs a clone with its tools for tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from grader.cli import INTERRUPTED, Parser
from grader.course import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from rich.progress import Progress


class Kind(NamedTuple):
    """What the proofs of a kind show, how long one takes beside those of other kinds, and what they are."""

    shown: str
    weight: float
    summary: str


KINDS = {
    "mutants": Kind("faults caught", 1.5, "the finished service with one fault, each by the check that must see it"),
    "conforming": Kind("conforming pass", 25, "services that are right and were built differently, by all checks"),
    "staircase": Kind("states as they should be", 20, "the service after each lab, by all checks"),
    "hostile": Kind("hostile bounded", 4, "submissions that no grader wants to meet, by the first lab's checks"),
    "cheats": Kind("cheats worthless", 8, "services that pretend to have solved a lab, by its checks"),
}
"""Kinds of proofs; those of a kind are the tests marked `law` in `tests/test_<kind>.py`."""

PYTEST_OPTIONS = (
    "-c",
    str(ROOT / "pyproject.toml"),
    f"--rootdir={ROOT}",
    *("-o", "addopts=--disable-plugin-autoload -p xdist.plugin --strict-config --strict-markers"),
    "-pno:terminal",
    "-pno:cacheprovider",
    "--dist=worksteal",
    *("-m", "law"),
)
"""pytest below, and nothing of it to be seen."""

INTERRUPTED_PYTEST = 2
"""What pytest returns after Ctrl-C."""

EVERY = 30.0
"""Seconds between two lines of news where no terminal shows the progress."""


def main(words: Sequence[str]) -> int:
    """Prove. Exit code 0 nothing got through, 1 something did, 2 the proofs could not be run, 130 interrupted."""
    options = _parser().parse_args(words)
    kinds = [kind for kind in KINDS if not options.what or {kind, "all"} & set(options.what)]
    if not (ROOT / "tests" / "laws.py").is_file():
        sys.exit("course prove: the services to be graded are part of the repository; call it in a clone.")
    if importlib.util.find_spec("xdist") is None:
        sys.exit("course prove: the tools for tests are missing; `make setup` brings them.")
    import pytest  # noqa: PLC0415 - --help must not pay for it

    arguments = [*PYTEST_OPTIONS, "-n", str(options.jobs)]
    arguments += [f"--only={options.only}"] if options.only else []
    if options.sample:
        arguments += ["--sample", str(options.sample), "--seed", options.seed]
        print(f"Drawn with --seed {options.seed}: about {options.sample} proofs of all kinds.", flush=True)
    os.chdir(ROOT)
    proof = Proof()
    code = pytest.main([*arguments, *(f"tests/test_{kind}.py" for kind in kinds)], plugins=[proof])
    return proof.finish(code)


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {name:<11} {kind.summary}" for name, kind in KINDS.items())
    parser = Parser(
        prog="course prove",
        description="Grade services whose verdicts are known, and say what got through.",
        epilog=f"what can be proved:\n{kinds}\n\nFaults are graded by the checks that are named for them, not by all.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("what", nargs="*", type=_kind, metavar="WHAT", help=f"{', '.join(KINDS)} or all (default: all)")
    add("--sample", type=int, metavar="N", help="draw about N of them, from each kind its share")
    today = time.strftime("%Y-%m-%d")
    add("--seed", default=today, metavar="S", help="what they are drawn by (default: the date)")
    add("--only", metavar="TEXT", help="those whose names contain a text")
    usual = 2 + (os.cpu_count() or 1)
    add("--jobs", type=int, default=usual, metavar="N", help=f"so many at once (default: {usual})")
    return parser


def _kind(text: str) -> str:
    if text not in {*KINDS, "all"}:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(KINDS)}, all")
    return text


@dataclass(frozen=True)
class Survivor:
    """Something that got through: which proof, and what it says."""

    kind: str
    name: str
    told: str


class Proof:
    """Watches a run of pytest: tells the progress while it goes on, and what got through."""

    def __init__(self) -> None:
        self.began = self._told_at = time.monotonic()
        self.wanted: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.survivors: list[Survivor] = []
        self.troubles: list[str] = []
        self._current: dict[str, None] = {}
        self._bar: Progress | None = None

    # -- what pytest tells ------------------------------------------------------------------------------------------

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learn what is to be done, from the first worker that knows."""
        if not self.wanted:
            self.wanted.update(map(_kind_of, ids))
            self._bar = _bar(len(ids))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a proof begins."""
        self._current[nodeid] = None
        self._show()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a proof, or what it needs, ended."""
        if report.failed:
            self._survived(report)
        if report.skipped and isinstance(report.longrepr, tuple):
            self.left_out[_kind_of(report.nodeid)] += 1
            self._say(f"not proved here: {_name_of(report.nodeid)}\n  {report.longrepr[2]}")
        if report.when == "teardown":
            self._current.pop(report.nodeid, None)
            self.done[_kind_of(report.nodeid)] += 1
            self._show()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what cannot even be collected."""
        if report.failed:
            self.troubles.append(str(report.longrepr))

    def pytest_internalerror(self, excrepr: object) -> None:
        """Note pytest's own troubles."""
        self.troubles.append(str(excrepr))

    # -- what the reader sees ---------------------------------------------------------------------------------------

    def _survived(self, report: pytest.TestReport) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = str(crash.message if crash else report.longrepr)
        lines = message.removeprefix("AssertionError: ").splitlines()
        told = [line for line in lines if not line.lstrip().startswith(("assert ", "+ "))][:8] or lines[:1]
        survivor = Survivor(_kind_of(report.nodeid), _name_of(report.nodeid), "\n".join(told))
        self.survivors.append(survivor)
        self._say(f"got through: {survivor.kind} {survivor.name}\n  " + survivor.told.replace("\n", "\n  "))

    def _say(self, text: str) -> None:
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)

    def _show(self) -> None:
        """Tell where we are: on a terminal always, else now and then."""
        done, wanted, now = self.done.total(), self.wanted.total(), time.monotonic()
        if self._bar:
            current = ", ".join(map(_name_of, self._current))
            self._bar.update(self._bar.task_ids[0], completed=done, left=self._left(), description=current[:60])
        elif done and (now - self._told_at > EVERY or done == wanted):
            self._told_at = now
            through = f", {len(self.survivors)} got through" if self.survivors else ""
            self._say(f"{done} of {wanted} after {_minutes(now - self.began)}, about {self._left()} left{through}")

    def _left(self) -> str:
        """Guess how long it will go on, from what has been done."""
        done, wanted = (
            sum(KINDS[kind].weight * count for kind, count in each.items()) for each in (self.done, self.wanted)
        )
        return _minutes((time.monotonic() - self.began) * (wanted - done) / done) if done else "?"

    def finish(self, code: int) -> int:
        """Tell the whole result; returns the exit code."""
        if self._bar:
            self._bar.stop()
        for trouble in self.troubles:
            print(trouble, file=sys.stderr)
        if self.survivors:
            print(f"\nGot through ({len(self.survivors)}):")
            for one in self.survivors:
                print(f"  {one.told.splitlines()[0] if one.told else one.name}")
                print(f"    again: course prove {one.kind} --only {shlex.quote(one.name)}")
        interrupted = code == INTERRUPTED_PYTEST
        print(f"interrupted: {self.summary()}" if interrupted else self.summary())
        return INTERRUPTED if interrupted else min(code, 2)

    def summary(self) -> str:
        """Return the last line."""
        bad = Counter(kind for kind, _ in {(one.kind, one.name) for one in self.survivors})
        good = self.done - bad - self.left_out
        told = [f"{good[kind]} of {count} {KINDS[kind].shown}" for kind, count in self.wanted.items()]
        told = told or ["nothing was proved"]
        if self.left_out:
            told.append(f"{self.left_out.total()} could not be proved here")
        return f"{', '.join(told)} ({_minutes(time.monotonic() - self.began)})"


def _bar(total: int) -> Progress | None:
    """Make a line that shows the progress, where there is a terminal to show it on."""
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console()
    if not console.is_terminal or os.environ.get("TERM") == "dumb":
        return None
    left = TextColumn("about {task.fields[left]} left")
    current = TextColumn("{task.description}", style="dim")
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), left, current)
    bar = Progress(*columns, console=console, transient=True)
    bar.add_task("", total=total, left="?")
    bar.start()
    return bar


def _kind_of(nodeid: str) -> str:
    return nodeid.partition("::")[0].rpartition("/")[2].removeprefix("test_").removesuffix(".py")


def _name_of(nodeid: str) -> str:
    return nodeid.partition("[")[2].removesuffix("]") or nodeid.rpartition("::")[2]


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
