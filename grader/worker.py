"""Workers: a fork of the grader for each lab under way, with backends of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from grader.bench import Bench
from grader.course import CHECKS, Chapter
from grader.messages import reseed
from grader.plugin import Collector
from grader.provider import ProviderProcess
from grader.report import StartProblem
from grader.service import StartFailedError
from grader.shift import Part
from grader.stack import Stack
from grader.submission import Submission
from grader.supervisor import Supervisor
from grader.tree import die_with_parent

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PYTEST_OPTIONS = (
    "-c" + os.devnull,
    f"--rootdir={CHECKS}",
    f"--confcutdir={CHECKS}",
    "--noconftest",
    "--assert=plain",
    "--capture=no",
    "-pno:cacheprovider",
    "-pno:terminal",
    "-pno:logging",
    "-pno:faulthandler",
    "-pno:doctest",
    "-pno:unittest",
    "-opython_files=lab_*.py",
    "-opython_functions=check_*",
)
"""pytest as a library: nothing is read from the folder that it is started in, and nothing is written."""


@dataclass(frozen=True)
class Workshop:
    """What all labs of a run share: the two supervisors and the provider."""

    directory: Path
    seed: int
    backends: Supervisor
    learners: Supervisor
    provider: ProviderProcess

    @contextlib.contextmanager
    def bench(self, submission: Submission, name: str) -> Iterator[Bench]:
        """Lay out a bench with a stack and a provider namespace of its own."""
        directory = self.directory / name
        directory.mkdir()
        with contextlib.ExitStack() as ending:
            stack = ending.enter_context(Stack(self.backends, directory))
            provider = self.provider.new_namespace()
            bench = Bench(
                submission,
                learners=self.learners,
                stack=stack,
                provider=provider,
                directory=directory,
                seed=f"{self.seed}-{name}",
            )
            ending.callback(bench.end)
            yield bench

    def try_start(self, submission: Submission) -> StartProblem | None:
        """Start the service once with the contract's settings; explain if it does not come up."""
        with self.bench(submission, "trial") as bench:
            try:
                bench.launch(1, users=1)
            except StartFailedError as failed:
                return failed.problem
        return None


def perform(workshop: Workshop, submission: Submission, part: Part, news: Connection) -> None:
    """Check a part of a lab in this process, a fork, and send news of it."""
    die_with_parent(signal.SIGTERM, os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the grader decides what Ctrl-C means
    _be_silent()
    reseed(f"{workshop.seed}-{part.name}")

    def tell(kind: str, value: Any) -> None:  # noqa: ANN401  # each kind has its own
        news.send((kind, value))

    with workshop.bench(submission, part.name) as bench:
        _check(part.chapter, Collector(bench, part.chapter, load=part.load, only=part.names, tell=tell))
        bill = bench.provider.bill()
        amounts = ("calls", "prompt_tokens", "completion_tokens", "price_usd")
        tell("bill", {amount: getattr(bill, amount) for amount in amounts})
    tell("done", None)


def _check(chapter: Chapter, collector: Collector) -> None:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    code = pytest.main([*PYTEST_OPTIONS, str(chapter.module_path)], plugins=[collector])
    if code not in {0, 1, 5}:
        collector.tell("problem", f"pytest could not run the lab's checks (exit code {int(code)}).")


def _be_silent() -> None:
    """Keep the terminal for the report: what checks or pytest print goes nowhere unless it is asked for."""
    if os.environ.get("GRADE_DEBUG"):
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # for the life of the process
