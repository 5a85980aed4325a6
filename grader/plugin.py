"""The pytest plugin that runs the checks of one lab and tells what each found."""

from __future__ import annotations

import importlib
import signal
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol

from grader.declaration import Check, Lab
from grader.expectation import Broken, Inconclusive, Skip
from grader.report import CheckResult, ExchangeRecord, Outcome

if TYPE_CHECKING:
    from grader.api import Api
    from grader.bench import Bench
    from grader.chart import Chart
    from grader.course import Chapter
    from grader.exchange import Exchange
    from grader.provider import Provider
    from grader.stack import Stack
    from grader.supervisor import Process

RESPONSE_LIMIT = 2048
"""Characters of an answer that a report keeps."""

LOG_LINES = 8
"""Log lines that are shown beside a failed check."""

Tell = Callable[[str, Any], None]


class _Overdue(BaseException):
    """A check took longer than its limit."""


class Collector:
    """Gives checks their fixtures, and turns how they end into results."""

    def __init__(self, bench: Bench, chapter: Chapter, *, load: bool, only: Collection[str], tell: Tell) -> None:
        self.bench = bench
        self.lab = chapter.number
        self.load = load
        self.only = only
        self.section = chapter.section
        self.tell = tell
        self.results: dict[str, CheckResult] = {}
        self.facts: list[str] = []
        self._main: Api | None = None
        self._worker: Process | None = None
        self._error: BaseException | None = None

    # -- fixtures ---------------------------------------------------------------------------------------------------

    @pytest.fixture(name="api")
    def fixture_api(self, request: pytest.FixtureRequest) -> Api:
        """The lab's main service; started again if an earlier check was its end."""
        if self._main is None or not self._main.service.alive:
            lab: Lab = importlib.import_module(request.module.__name__).lab
            home = self.bench.sibling()
            self._main = home.start(users=lab.users, database=lab.database, **lab.env)
            self._worker = home.worker(self._main) if lab.worker else None
        return self._main

    @pytest.fixture(name="worker")
    def fixture_worker(self, api: Api) -> Process:
        """The main service's background worker; started again if an earlier check was its end."""
        if self._worker is None or self._worker.poll() is not None:
            self._worker = self.bench.sibling().worker(api)
        return self._worker

    @pytest.fixture(name="provider")
    def fixture_provider(self) -> Provider:
        """The model provider's control client."""
        return self.bench.provider

    @pytest.fixture(name="stack")
    def fixture_stack(self) -> Stack:
        """The lab's own Redis and databases."""
        return self.bench.stack

    @pytest.fixture(name="services")
    def fixture_services(self) -> Iterator[Bench]:
        """Start services with other settings; they end with the check."""
        mark = self.bench.mark()
        yield self.bench
        self.bench.end_since(mark)

    @pytest.fixture(name="note")
    def fixture_note(self) -> Callable[[str], None]:
        """Note a measured figure for the report, whatever the outcome."""
        return self.facts.append

    @pytest.fixture(name="saved")
    def fixture_saved(self) -> Callable[[float], None]:
        """Tell what a cache has saved (US dollars), for the run's bill."""
        return lambda amount: self.tell("saved", amount)

    @pytest.fixture(name="chart")
    def fixture_chart(self) -> Callable[[Chart], None]:
        """Add a chart to the report."""
        return lambda chart: self.tell("chart", chart)

    # -- collection -------------------------------------------------------------------------------------------------

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the checks of this pass, in file order, those that disturb others last; begin what takes long."""
        kept = [item for item in items if _check(item).load is self.load]
        kept = [item for item in kept if not self.only or _check(item).name in self.only]
        items[:] = sorted(kept, key=lambda item: (_check(item).exclusive, _check(item).line))
        for build in dict.fromkeys(each for item in items for each in _check(item).ahead):
            self.bench.begin(build)

    # -- running ----------------------------------------------------------------------------------------------------

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:  # noqa: ARG002
        """Run one check, once more if it is about time and was inconclusive, and tell its result."""
        check = _check(item)
        self.tell("check_started", (check.name, check.promise))
        result = self._run(item, check)
        if result.outcome is Outcome.INCONCLUSIVE and check.timing:
            result = self._run(item, check)
        self.results[check.name] = result
        self.tell("check_finished", result)
        return True

    def _run(self, item: pytest.Item, check: Check) -> CheckResult:
        earlier = [self.results[name] for name in check.needs if name in self.results]
        missing = next((result for result in earlier if result.outcome is not Outcome.PASSED), None)
        if missing:
            told = f"Comes after “{missing.name.replace('_', ' ')}”, which has not passed yet."
            return self._result(check, Outcome.SKIPPED, told, waived=missing.undecided)
        started = time.monotonic()
        self.facts.clear()
        marks = self._log_marks()
        error = self._error_of(item, check)
        outcome, message, exchanges = self._judge(error, check)
        return self._result(
            check,
            outcome,
            message,
            exchanges=tuple(record(one) for one in exchanges[-3:]),
            log=self._log_since(marks, exchanges) if outcome is Outcome.FAILED else (),
            seconds=time.monotonic() - started,
            waived=isinstance(error, Skip),
        )

    def _error_of(self, item: pytest.Item, check: Check) -> BaseException | None:
        self._error = None
        with _limit(check.timeout):
            runtestprotocol(item, log=False, nextitem=None)
        return self._error

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """Keep the first error of a check, be it of a fixture or of the check itself."""
        if call.excinfo is not None and self._error is None:
            self._error = call.excinfo.value

    def _judge(self, error: BaseException | None, check: Check) -> tuple[Outcome, str, tuple[Exchange, ...]]:
        match error:
            case None:
                found: tuple[Outcome, str, tuple[Exchange, ...]] = Outcome.PASSED, "", ()
            case Broken():
                found = Outcome.FAILED, self._with_death(error.message), error.exchanges
            case AssertionError():
                found = Outcome.FAILED, self._with_death(str(error) or check.promise), ()
            case Skip():
                found = Outcome.SKIPPED, str(error), ()
            case Inconclusive():
                found = Outcome.INCONCLUSIVE, str(error), ()
            case _Overdue():
                found = Outcome.INCONCLUSIVE, f"The check was ended after {check.timeout:.0f} s.", ()
            case LookupError() | TypeError() | AttributeError() | ValueError() if _in_a_check(error):
                told = f"An answer does not have the form that the contract gives it ({_origin(error)})."
                found = Outcome.FAILED, self._with_death(told), ()
            case _:
                found = Outcome.ERROR, f"The grader itself erred: {_origin(error)}", ()
        return found

    def _with_death(self, message: str) -> str:
        if self._main is None or self._main.service.alive:
            return message
        code = self._main.service.process.poll()
        return f"{message} The service's process ended during this check (exit code {code})."

    def _log_marks(self) -> int:
        return len(self._main.service.lines()) if self._main and not self.bench.outside else 0

    def _log_since(self, mark: int, exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
        names = {one.service for one in exchanges if one.service}
        lines: list[str] = []
        for service in self.bench.recent(names):
            since = mark if self._main and service is self._main.service else 0
            lines += service.lines()[max(since, service.start_lines) :]
        ids = {one.request_id for one in exchanges if one.request_id}
        about = [line for line in lines if any(each in line for each in ids)]
        root = f"{self.bench.submission.root}/"
        return tuple(line.replace(root, "")[:500] for line in (about or lines)[-LOG_LINES:])

    def _result(self, check: Check, outcome: Outcome, message: str, **more: Any) -> CheckResult:  # noqa: ANN401
        return CheckResult(
            lab=self.lab,
            name=check.name,
            promise=check.promise,
            outcome=outcome,
            points=check.points if outcome is Outcome.PASSED else 0,
            max_points=check.points,
            message=message,
            hints=check.hints,
            section=self.section,
            facts=tuple(self.facts),
            **more,
        )


def record(exchange: Exchange) -> ExchangeRecord:
    """Keep of an exchange what a report shows."""
    text = exchange.text
    return ExchangeRecord(
        curl=exchange.curl,
        request=f"{exchange.method} {exchange.path}",
        status=exchange.status,
        response_headers=dict(list(exchange.headers.items())[:30]),
        response=text if len(text) <= RESPONSE_LIMIT else text[:RESPONSE_LIMIT] + "…",
        seconds=round(exchange.seconds, 4),
        error=exchange.error or None,
    )


def _in_a_check(error: BaseException) -> bool:
    """Whether the error arose in a check itself, which takes answers of the service apart there and nowhere else."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).parent.name == "checks"


def _origin(error: BaseException) -> str:
    """Say what erred and where, for whoever maintains the checks."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "/grader/" in f.filename), None)
    where = f" at {Path(place.filename).name}:{place.lineno}" if place else ""
    return f"{type(error).__name__}: {error}{where}"


def _check(item: pytest.Item) -> Check:
    declared = getattr(getattr(item, "function", None), "check", None)
    if not isinstance(declared, Check):
        raise TypeError(f"{item.nodeid} is not declared with @check")
    return declared


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Interrupt the block after so many seconds; checks run in the main thread of a process of their own."""

    def overdue(_signal: int, _frame: object) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
