"""Report: what a run found, its totals and its exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from grader.chart import Chart

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA_VERSION = 1
"""Raised when a field changes its meaning or goes; new fields may come without a raise."""

OWN_MACHINE = "own machine"
"""The guard ``isolation`` of a run that asked for none: the service ran as the grader's user, within limits."""

Record = TypeVar("Record")


class Outcome(StrEnum):
    """How a check, a lab or a whole run ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


UNDECIDED = frozenset({Outcome.INCONCLUSIVE, Outcome.ERROR})
"""Outcomes that say nothing about the learner's work; their points are neither given nor asked for."""

# Which outcome speaks for many, first come. A lab with one undecided check has still been judged by the others;
# a run with one wholly undecided lab has not.
_LAB_ORDER = (Outcome.ERROR, Outcome.FAILED, Outcome.PASSED, Outcome.INCONCLUSIVE)
_RUN_ORDER = (Outcome.ERROR, Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)

EXIT_CODES = {Outcome.PASSED: 0, Outcome.FAILED: 1}
"""Every other outcome is 2: could not grade."""


@dataclass(frozen=True)
class ExchangeRecord:
    """One request and its answer, ready to be shown: `curl` can be pasted, `response` is at most 2 KB."""

    curl: str
    request: str
    status: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response: str = ""
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    `hints` is the whole ladder. `facts` are measured numbers worth knowing whatever the outcome.
    `waived` marks a skip that is not the learner's doing (`--no-load`, a part that the machine lacks): its points are
    not asked for.
    """

    lab: int
    name: str
    promise: str
    outcome: Outcome
    points: int
    max_points: int
    message: str = ""
    exchanges: tuple[ExchangeRecord, ...] = ()
    log: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    seconds: float = 0.0
    section: str = ""
    facts: tuple[str, ...] = ()
    waived: bool = False

    def __post_init__(self) -> None:
        """Refuse points outside 0…max_points."""
        if not 0 <= self.points <= self.max_points:
            raise ValueError(f"{self.name}: {self.points} of {self.max_points} points")

    @property
    def counted(self) -> bool:
        """Whether the points of this check are part of the totals."""
        return not self.waived and self.outcome not in UNDECIDED

    @property
    def undecided(self) -> bool:
        """Whether it says nothing about the learner's work; then checks that build on it say nothing either."""
        return self.waived or self.outcome in UNDECIDED

    @property
    def blocking(self) -> bool:
        """Whether this check keeps its lab from being passed by the learner."""
        return self.outcome is Outcome.FAILED or (self.outcome is Outcome.SKIPPED and not self.waived)


@dataclass(frozen=True)
class LabResult:
    """The checks of one lab in file order; `slug` is `rate_limiting`, paths follow from `stem`."""

    number: int
    slug: str
    title: str
    checks: tuple[CheckResult, ...] = ()
    seconds: float = 0.0

    @property
    def stem(self) -> str:
        """The name under which the lab's brief, notebook and checks are found, such as `04_rate_limiting`."""
        return f"{self.number:02}_{self.slug}"

    @property
    def outcome(self) -> Outcome:
        """Passed when something passed and nothing was blocking."""
        outcomes = {Outcome.FAILED if check.blocking else check.outcome for check in self.checks}
        return _first(_LAB_ORDER, outcomes)

    @property
    def points(self) -> int:
        """Points earned."""
        return sum(check.points for check in self.checks if check.counted)

    @property
    def max_points(self) -> int:
        """Points that could be earned by the checks that were decided."""
        return sum(check.max_points for check in self.checks if check.counted)

    @property
    def undecided_points(self) -> int:
        """Points of checks that were inconclusive, broken or waived."""
        return sum(check.max_points for check in self.checks if not check.counted)

    @property
    def first_blocking(self) -> CheckResult | None:
        """The check to work on: the first that failed."""
        return next((check for check in self.checks if check.blocking), None)


@dataclass(frozen=True)
class StartProblem:
    """Why nothing could be graded: one cause in a sentence, where it is, what the service last said, what to do."""

    cause: str
    detail: str = ""
    file: str | None = None
    line: int | None = None
    log: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def place(self) -> str:
        """`app/main.py:12`, as far as it is known."""
        return ":".join(str(part) for part in (self.file, self.line) if part is not None)


@dataclass(frozen=True)
class Report:
    """All that a run found.

    `bill` has calls, prompt_tokens, completion_tokens, price_usd and, where a cache was judged, without_cache_usd.
    `phases` are seconds by name; `guards` tell which isolation was on; `command` repeats the run.
    """

    labs: tuple[LabResult, ...] = ()
    seed: int = 0
    seconds: float = 0.0
    problem: StartProblem | None = None
    bill: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, str] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    submission: str = ""
    command: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """All checks, in lab and file order."""
        return tuple(check for lab in self.labs for check in lab.checks)

    @property
    def outcome(self) -> Outcome:
        """Passed when some lab passed and no other lab was failed, broken or wholly inconclusive."""
        if self.problem:
            return Outcome.ERROR
        return _first(_RUN_ORDER, {lab.outcome for lab in self.labs})

    @property
    def exit_code(self) -> int:
        """0 all passed, 1 some failed, 2 could not grade."""
        return EXIT_CODES.get(self.outcome, 2)

    @property
    def points(self) -> int:
        """Points earned in all labs."""
        return sum(lab.points for lab in self.labs)

    @property
    def max_points(self) -> int:
        """Points that could be earned by the checks that were decided."""
        return sum(lab.max_points for lab in self.labs)

    @property
    def undecided_points(self) -> int:
        """Points of checks that were inconclusive, broken or waived."""
        return sum(lab.undecided_points for lab in self.labs)

    @property
    def first_blocking(self) -> CheckResult | None:
        """The check to work on: the first that failed in the first lab that has one."""
        return next((lab.first_blocking for lab in self.labs if lab.first_blocking), None)

    def count(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return sum(check.outcome is outcome for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as `report.schema.json` describes it, totals included."""
        labs = [asdict(lab) | _totals(lab) for lab in self.labs]
        start = {"version": SCHEMA_VERSION} | _totals(self) | {"exit_code": self.exit_code}
        return start | asdict(self) | {"labs": labs, "started_at": self.started_at.isoformat()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Build the report again; totals are computed, not believed. Raises KeyError, TypeError or ValueError."""
        problem = data.get("problem")
        parts = {
            "labs": tuple(_lab(each) for each in data["labs"]),
            "problem": problem and _record(StartProblem, problem),
            "charts": tuple(Chart.from_dict(each) for each in data.get("charts", ())),
            "started_at": datetime.fromisoformat(data["started_at"]),
        }
        return _record(cls, {**data, **parts})


class Progress(Protocol):
    """Somebody who watches a run; all calls come from one thread, those of different labs interleaved."""

    def phase(self, name: str) -> None:
        """Note that a new part of the run begins."""

    def lab_started(self, number: int, slug: str, title: str, checks: int) -> None:
        """Note that a lab with so many checks begins."""

    def check_started(self, lab: int, name: str, promise: str) -> None:
        """Note that a check begins."""

    def check_finished(self, result: CheckResult) -> None:
        """Note how a check ended."""

    def finished(self, report: Report) -> None:
        """Note that the run has ended; nothing else comes."""


def _first(order: Iterable[Outcome], found: set[Outcome]) -> Outcome:
    return next((outcome for outcome in order if outcome in found), Outcome.SKIPPED)


def _totals(judged: Report | LabResult) -> dict[str, Any]:
    names = ("outcome", "points", "max_points", "undecided_points")
    return {name: getattr(judged, name) for name in names}


def _record(kind: type[Record], data: Mapping[str, Any]) -> Record:
    """Call the dataclass with the fields it knows; lists become the tuples they were."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in data.items() if name in known}
    )


def _lab(data: Mapping[str, Any]) -> LabResult:
    return _record(LabResult, {**data, "checks": tuple(_check(each) for each in data["checks"])})


def _check(data: Mapping[str, Any]) -> CheckResult:
    exchanges = tuple(_record(ExchangeRecord, each) for each in data["exchanges"])
    return _record(CheckResult, {**data, "outcome": Outcome(data["outcome"]), "exchanges": exchanges})
