"""Workers: a process for each lab under way, forked from a warm one, with backends of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grader.bench import Bench
from grader.client import reseed
from grader.course import CHECKS, Chapter, Course
from grader.plugin import Collector
from grader.processes import die_with_parent
from grader.provider import Provider, ProviderAddress, ProviderProcess
from grader.report import StartProblem
from grader.service import PRELOAD, StartFailedError
from grader.stack import Stack
from grader.submission import Submission
from grader.supervisor import Supervisor

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__])

PYTEST_OPTIONS = (
    "-c=" + os.devnull,
    f"--rootdir={CHECKS}",
    f"--confcutdir={CHECKS}",
    "--noconftest",
    "--assert=plain",
    "--capture=no",
    "-p=no:cacheprovider",
    "-p=no:terminal",
    "-p=no:logging",
    "-p=no:faulthandler",
    "-p=no:doctest",
    "-p=no:unittest",
    "-o=python_files=lab_*.py",
    "-o=python_functions=check_*",
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

    @property
    def address(self) -> tuple[str, str, ProviderAddress]:
        """What a worker needs to reach them."""
        return self.backends.address, self.learners.address, self.provider.address

    def try_start(self, submission: Submission) -> StartProblem | None:
        """Start the service once with the contract's settings; explain if it does not come up."""
        directory = self.directory / "trial"
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
                seed=f"{self.seed}-trial",
            )
            ending.callback(bench.end)
            try:
                bench.launch(1, users=1)
            except StartFailedError as failed:
                return failed.problem
        return None


@contextlib.contextmanager
def start_workshop(directory: Path, seed: int) -> Iterator[Workshop]:
    """Start what all labs share; end it, and everything that was started through it, at the end."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    multiprocessing.forkserver.ensure_running()
    with contextlib.ExitStack() as ending:
        learners = ending.enter_context(Supervisor(preload=PRELOAD))
        backends = ending.enter_context(Supervisor())
        provider = ProviderProcess.start(backends, directory)
        yield Workshop(directory, seed, backends, learners, provider)


@dataclass(frozen=True)
class Assignment:
    """One lab to be checked, and where its worker finds what it shares with others."""

    lab: int
    load: bool
    submission: Submission
    directory: Path
    seed: str
    address: tuple[str, str, ProviderAddress]


def assignments(
    workshop: Workshop, submission: Submission, chapters: Sequence[Chapter], *, load: bool
) -> list[Assignment]:
    """Write out the assignments of a pass over labs."""
    phase = "load" if load else "checks"
    return [
        Assignment(
            one.number,
            load,
            submission,
            workshop.directory / f"{one.stem}-{phase}",
            f"{workshop.seed}-{one.number}-{phase}",
            workshop.address,
        )
        for one in chapters
    ]


def perform(assignment: Assignment, news: multiprocessing.connection.Connection) -> None:
    """Check one lab in this process and send news of it."""
    die_with_parent(15, os.getppid())
    _be_silent()
    reseed(assignment.seed)
    chapter = Course().lab(assignment.lab)

    def tell(kind: str, value: Any) -> None:  # noqa: ANN401  # each kind has its own
        news.send((kind, value))

    assignment.directory.mkdir(parents=True)
    with contextlib.ExitStack() as ending:
        backends, learners, provider_address = assignment.address
        stack = ending.enter_context(Stack(ending.enter_context(Supervisor.connect(backends)), assignment.directory))
        provider = Provider.connect(provider_address)
        bench = Bench(
            assignment.submission,
            learners=ending.enter_context(Supervisor.connect(learners)),
            stack=stack,
            provider=provider,
            directory=assignment.directory,
            seed=assignment.seed,
        )
        ending.callback(bench.end)
        collector = Collector(bench, assignment.lab, load=assignment.load, section=chapter.section, tell=tell)
        code = pytest.main([*PYTEST_OPTIONS, str(chapter.module_path)], plugins=[collector])
        if code not in {0, 1, 5}:
            tell("problem", f"pytest could not run the lab's checks (exit code {int(code)}).")
        bill = provider.bill()
        tell(
            "bill",
            {
                "calls": bill.calls,
                "prompt_tokens": bill.prompt_tokens,
                "completion_tokens": bill.completion_tokens,
                "price_usd": bill.price_usd,
            },
        )
    tell("done", None)


def _be_silent() -> None:
    """Keep the terminal for the report: what checks or pytest print goes nowhere unless it is asked for."""
    if os.environ.get("GRADE_DEBUG"):
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # for the life of the process
