"""Exercises of notebook 08, deployment."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from grader.notebook.judge import demand, exercise_check

RunsAgain = Callable[[list[set[str]], set[str]], list[bool]]
Times = Callable[[float, int, float], tuple[float, float]]
Gate = Callable[[str, str, dict[str, str]], bool]
BackUp = Callable[[str, str], None]

FILES = ("requirements.txt", "app/main.py", "app/model.py", "README.md", "pyproject.toml")
JOBS = ("lint", "test", "build")
REFS = ("refs/heads/main", "refs/heads/main-2", "refs/heads/feature/main", "refs/tags/main", "refs/heads/maintenance")
RESULTS = ("success", "failure", "cancelled", "skipped")


@exercise_check("08-layers")
def layers(runs_again: RunsAgain, draw: random.Random) -> None:
    """`runs_again(steps, changed)`: a step runs again when it reads what changed, or one before it ran again."""
    for _ in range(40):
        steps = [set(draw.sample(FILES, draw.choice((0, 1, 1, 2)))) for _ in range(draw.randint(1, 6))]
        changed = set(draw.sample(FILES, draw.choice((0, 1, 1, 2))))
        right, dirty = [], False
        for reads in steps:
            dirty = dirty or bool(reads & changed)
            right.append(dirty)
        said = runs_again([set(reads) for reads in steps], set(changed))
        asked = f"runs_again({_shown(steps)}, {sorted(changed)})"
        demand(list(said) == right, f"{asked} is {right}, not {said!r}")


def _shown(steps: list[set[str]]) -> list[list[str]]:
    return [sorted(reads) for reads in steps]


@exercise_check("08-grace")
def grace(times_to_end: Times, draw: random.Random) -> None:
    """`times_to_end(probe, misses, answer)`: when the door may close, and when the process may be killed."""
    for _ in range(40):
        probe, misses, answer = float(draw.randint(1, 10)), draw.randint(1, 4), float(draw.randint(1, 60))
        said = times_to_end(probe, misses, answer)
        asked = f"times_to_end({probe:g}, {misses}, {answer:g})"
        demand(isinstance(said, tuple) and len(said) == 2, f"{asked} has to return (door, grace), not {said!r}")
        door, kill = said
        unseen = probe * misses
        demand(door >= unseen - 1e-9, f"{asked}: at {door:g} s the balancer may still send; it stops at {unseen:g} s")
        demand(door <= unseen + 1e-9, f"{asked}: the door need not stay open for {door:g} s; {unseen:g} s are enough")
        last = unseen + answer
        demand(kill >= last - 1e-9, f"{asked}: what comes in at {unseen:g} s is cut by a SIGKILL at {kill:g} s")
        demand(kill <= last + 1e-9, f"{asked}: a grace of {kill:g} s is longer than needed; {last:g} s are enough")


@exercise_check("08-gate")
def gate(may_deploy: Gate, draw: random.Random) -> None:
    """`may_deploy(event, ref, results)`: a push to main, and lint, test and build were successful."""
    passed = dict.fromkeys(JOBS, "success")
    demand(may_deploy("push", "refs/heads/main", dict(passed)) is True, "a push to main with all three green deploys")
    for _ in range(80):
        event = draw.choice(("push", "push", "pull_request", "schedule", "pull_request_target"))
        ref, results = draw.choice((REFS[0], *REFS)), dict(passed)
        if draw.random() < 0.6:
            results[draw.choice(JOBS)] = draw.choice(RESULTS)
        if draw.random() < 0.2:
            del results[draw.choice(JOBS)]
        right = event == "push" and ref == REFS[0] and results == passed
        said = may_deploy(event, ref, dict(results))
        asked = f"may_deploy({event!r}, {ref!r}, {results})"
        demand(isinstance(said, bool), f"{asked} has to be True or False, not {said!r}")
        demand(said == right, f"{asked} has to be {right}")


@exercise_check("08-backup")
def backup(back_up: BackUp, draw: random.Random) -> None:
    """`back_up(live, copy)`: all that is committed, also what lies in the log; whole or not at all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live, copy = folder / "live.db", folder / "copy.db"
        with closing(_in_use(live, count := draw.randint(3, 60))):
            back_up(str(live), str(copy))
            demand(copy.is_file(), "there is no file under the name of the copy")
            left = sorted(each.name for each in folder.iterdir() if each.name != "copy.db")
            left = [each for each in left if not each.startswith("live.db")]
            demand(not left, f"beside the copy there is also {', '.join(left)}")
        found = _users(copy)
        demand(found == count, f"{count} users were committed; the copy holds {found}")
        _keeps_the_old_copy(back_up, folder, copy)


def _in_use(path: Path, count: int) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE users (name TEXT)")
    database.executemany("INSERT INTO users VALUES (?)", [(f"user {i}",) for i in range(count)])
    return database


def _users(path: Path) -> int | str:
    with closing(sqlite3.connect(path)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM users").fetchone()[0])
        except sqlite3.Error as problem:
            return f"nothing that can be read ({problem})"


def _keeps_the_old_copy(back_up: BackUp, folder: Path, copy: Path) -> None:
    """A backup that fails half way must not have replaced the last good one."""
    broken, before = folder / "broken.db", copy.read_bytes()
    broken.write_bytes(b"this is no database at all" * 100)
    with suppress(Exception):
        back_up(str(broken), str(copy))
    demand(copy.is_file() and copy.read_bytes() == before, "a backup that failed has spoilt the good copy of before")
