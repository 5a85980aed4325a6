"""History: what was graded before and which hints were shown, in one SQLite file that survives everything."""

from __future__ import annotations

import getpass
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from grader import workspace
from grader.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from grader.report import Report

Result = TypeVar("Result")

SCHEMA = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, learner TEXT, service TEXT, started_at TEXT, seconds REAL, seed INTEGER,
                   outcome TEXT, points INTEGER, max_points INTEGER, problem TEXT);
CREATE INDEX runs_of_a_service ON runs (learner, service, id);
CREATE TABLE labs (run INTEGER REFERENCES runs ON DELETE CASCADE, lab INTEGER, slug TEXT, outcome TEXT,
                   points INTEGER, max_points INTEGER, PRIMARY KEY (run, lab)) WITHOUT ROWID;
CREATE TABLE verdicts (run INTEGER REFERENCES runs ON DELETE CASCADE, lab INTEGER, name TEXT, outcome TEXT,
                       points INTEGER, max_points INTEGER, seconds REAL, PRIMARY KEY (run, lab, name)) WITHOUT ROWID;
CREATE TABLE hints (learner TEXT, service TEXT, lab INTEGER, name TEXT, shown INTEGER,
                    PRIMARY KEY (learner, service, lab, name)) WITHOUT ROWID;
"""
VERSION = 1
_SPOILT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True)
class Run:
    """One line of the history."""

    started_at: datetime
    seconds: float
    seed: int
    outcome: Outcome
    points: int
    max_points: int


@dataclass(frozen=True)
class Standing:
    """Where a learner stands in one lab: the last verdict, the best points, and how often it was graded."""

    lab: int
    outcome: Outcome
    points: int
    max_points: int
    best: int
    passed: bool
    runs: int
    last: datetime


class History:
    """The runs and hints of one learner.

    Nothing here raises: a file that cannot be read is moved aside, one that cannot be written is done without, and
    `notes` says so.
    """

    def __init__(self, path: Path | None = None, learner: str | None = None) -> None:
        self.path = path or workspace.home() / "history.db"
        self.learner = learner or _user()
        self.notes: list[str] = []

    def record(self, service: Path, report: Report) -> None:
        """Remember a run."""
        self._do(lambda database: self._record(database, service, report), None)

    def runs(self, service: Path, limit: int = 20) -> list[Run]:
        """Give the last runs, the newest first."""
        query = """SELECT started_at, seconds, seed, outcome, points, max_points FROM runs
                   WHERE learner = ? AND service = ? ORDER BY id DESC LIMIT ?"""
        rows = self._rows(query, *self._key(service), limit)
        return [Run(datetime.fromisoformat(row[0]), row[1], row[2], Outcome(row[3]), row[4], row[5]) for row in rows]

    def standings(self, service: Path) -> dict[int, Standing]:
        """Tell for each lab ever graded where the learner stands."""
        query = """SELECT lab, labs.outcome, labs.points, labs.max_points, max(labs.points) OVER each,
                          max(labs.outcome = 'passed') OVER each, count(*) OVER each, started_at
                   FROM labs JOIN runs ON runs.id = run WHERE learner = ? AND service = ?
                   WINDOW each AS (PARTITION BY lab) ORDER BY run"""
        rows = self._rows(query, *self._key(service))
        return {row[0]: _standing(row) for row in rows}

    def hints(self, service: Path) -> dict[tuple[int, str], int]:
        """Count the hints shown, by lab and check."""
        rows = self._rows("SELECT lab, name, shown FROM hints WHERE learner = ? AND service = ?", *self._key(service))
        return {(row[0], row[1]): row[2] for row in rows}

    def show_hint(self, service: Path, lab: int, name: str, ladder: int) -> int:
        """Go one step down a ladder of so many hints; give the number of those shown."""
        query = """INSERT INTO hints VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET shown = min(shown + 1, ?)
                   RETURNING shown"""
        rows = self._rows(query, *self._key(service), lab, name, ladder)
        return int(rows[0][0]) if rows else min(1, ladder)

    def _record(self, database: sqlite3.Connection, service: Path, report: Report) -> None:
        row = (*self._key(service), report.started_at.isoformat(), report.seconds, report.seed, report.outcome)
        cause = report.problem and report.problem.cause
        run = database.execute(
            "INSERT INTO runs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, report.points, report.max_points, cause)
        ).lastrowid
        database.executemany(
            "INSERT OR REPLACE INTO labs VALUES (?, ?, ?, ?, ?, ?)",
            [(run, lab.number, lab.slug, lab.outcome, lab.points, lab.max_points) for lab in report.labs],
        )
        database.executemany(
            "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (run, each.lab, each.name, each.outcome, each.points, each.max_points, each.seconds)
                for each in report.checks
            ],
        )

    def _key(self, service: Path) -> tuple[str, str]:
        return self.learner, str(service.resolve())

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._do(lambda database: database.execute(query, values).fetchall(), [])

    def _do(self, work: Callable[[sqlite3.Connection], Result], otherwise: Result) -> Result:
        try:
            return self._try(work)
        except (sqlite3.Error, OSError) as problem:
            self._note(f"The history {self.path} cannot be used ({problem}); this run is not remembered.")
            return otherwise

    def _try(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            with self._database() as database:
                return work(database)
        except sqlite3.DatabaseError as problem:
            if not _spoilt(problem):
                raise
        self._set_aside()
        with self._database() as database:
            return work(database)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open the file, in a transaction; another process may be doing the same."""
        with self._alone():
            database = _open(self.path)
        with closing(database), database:
            database.execute("BEGIN IMMEDIATE")
            yield database

    def _set_aside(self) -> None:
        """Move a spoilt file away, unless another process was faster."""
        with self._alone():
            if _sound(self.path):
                return
            aside = self.path.with_name(f"history.spoilt-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.db")
            self.path.replace(aside)
            for ending in ("-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        self._note(f"The history was unreadable and begins anew; the old file is {workspace.short(aside)}.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock under which the file is made, set to WAL and moved away: SQLite's own cannot cover these."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("a") as lock:
            _lock(lock.fileno())
            yield

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        if database.execute("PRAGMA user_version").fetchone()[0] == 0:
            database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    except BaseException:
        database.close()
        raise
    return database


def _sound(path: Path) -> bool:
    try:
        with closing(_open(path)) as database:
            return bool(database.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError as problem:
        return not _spoilt(problem)


def _spoilt(problem: sqlite3.DatabaseError) -> bool:
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF in _SPOILT


def _standing(row: tuple[Any, ...]) -> Standing:
    lab, outcome, points, max_points, best, passed, runs, last = row
    return Standing(lab, Outcome(outcome), points, max_points, best, bool(passed), runs, datetime.fromisoformat(last))


def _lock(descriptor: int) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not on Windows, where SQLite's own locks must do
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "learner"
