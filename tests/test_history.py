from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from grader import landlock, tree
from grader.history import History
from grader.report import Outcome
from tests import examples
from tests.endings import outliving
from tests.hostile import WELL, Hostile

WRITER = """
import sys
from pathlib import Path
from grader.history import History
from tests import examples

history = History(Path(sys.argv[1]), "ada")
for number in range(int(sys.argv[2])):
    history.record(Path("service"), examples.rich())
    history.show_hint(Path("service"), 4, "allowance_runs_out", 1_000_000)
    print(number, *history.notes, flush=True)
"""
ROOT = Path(__file__).parent.parent


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "home" / "history.db", "ada")


@pytest.fixture
def service(tmp_path: Path) -> Path:
    return tmp_path / "service"


def write(path: Path, runs: int) -> subprocess.Popen[str]:
    """Start a process that records so many runs and says so one by one."""
    command = [sys.executable, "-c", WRITER, str(path), str(runs)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_an_empty_history(history: History, service: Path) -> None:
    assert history.runs(service) == []
    assert history.standings(service) == {}
    assert history.hints(service) == {}
    assert history.notes == []


def test_runs_come_back_newest_first(history: History, service: Path) -> None:
    history.record(service, examples.passed())
    history.record(service, examples.rich())
    newest, oldest = history.runs(service)

    assert (newest.outcome, newest.points, newest.max_points) == (Outcome.ERROR, 7, 14)
    assert (oldest.outcome, oldest.points, oldest.seed) == (Outcome.PASSED, 3, 20417)
    assert oldest.started_at == examples.passed().started_at
    assert history.runs(service, limit=1) == [newest]


def test_verdicts_are_kept_for_each_check(history: History, service: Path) -> None:
    history.record(service, examples.rich())
    with closing(sqlite3.connect(history.path)) as database:
        rows = database.execute("SELECT lab, name, outcome, points FROM verdicts ORDER BY lab, name").fetchall()

    assert len(rows) == 10
    assert (4, "allowance_runs_out", "failed", 0) in rows


def test_a_standing_knows_the_last_verdict_and_the_best_points(history: History, service: Path) -> None:
    better = examples.rich()
    history.record(service, better)
    worse = replace(better.labs[0], checks=(examples.check("chat_answers", Outcome.FAILED, lab=2),))
    history.record(service, replace(better, labs=(worse,)))
    standing = history.standings(service)[2]

    assert (standing.outcome, standing.points, standing.best) == (Outcome.FAILED, 0, 3)
    assert (standing.passed, standing.runs) == (True, 2)
    assert history.standings(service)[9].passed


def test_a_service_that_did_not_start_is_remembered(history: History, service: Path) -> None:
    history.record(service, examples.not_started())

    assert [run.outcome for run in history.runs(service)] == [Outcome.ERROR]


def test_learners_and_services_are_kept_apart(history: History, service: Path, tmp_path: Path) -> None:
    history.record(service, examples.rich())
    history.show_hint(service, 4, "one", 3)

    assert history.runs(tmp_path / "other") == []
    assert History(history.path, "bob").runs(service) == []
    assert History(history.path, "bob").hints(service) == {}


def test_hints_count_up_to_the_ladders_end(history: History, service: Path) -> None:
    assert [history.show_hint(service, 4, "one", 2) for _ in range(3)] == [1, 2, 2]
    assert history.hints(service) == {(4, "one"): 2}


def test_several_processes_lose_nothing(history: History) -> None:
    writers = [write(history.path, 10) for _ in range(4)]
    said = [writer.communicate(timeout=60)[0] for writer in writers]

    assert said == ["".join(f"{number}\n" for number in range(10))] * 4
    assert len(history.runs(Path("service"), limit=100)) == 40
    assert history.hints(Path("service")) == {(4, "allowance_runs_out"): 40}


def test_it_opens_after_a_sigkill(history: History) -> None:
    writer = write(history.path, 1_000_000)
    assert writer.stdout
    seen = [writer.stdout.readline() for _ in range(5)]
    writer.send_signal(signal.SIGKILL)
    writer.stdout.close()
    writer.wait(10)

    assert len(history.runs(Path("service"), limit=1_000_000)) >= len(seen)
    history.record(Path("service"), examples.rich())
    assert history.notes == []
    with closing(sqlite3.connect(history.path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("isolation", ["off", "strangers"])
def test_a_killed_run_leaves_no_process_and_a_history(isolation: str, history: History, tmp_path: Path) -> None:
    if isolation == "strangers" and landlock.version() < landlock.SIGNALS:
        pytest.skip("strangers cannot be kept in on this machine")
    Hostile("good", WELL).write(tmp_path / "service")
    words = ["2", "--service", str(tmp_path / "service"), f"--isolate={isolation}"]
    command = [sys.executable, "-c", "from grader.cli import grade; raise SystemExit(grade())", *words]
    env = {**os.environ, "COURSE_HOME": str(history.path.parent), "TMPDIR": str(tmp_path)}
    writer = write(history.path, 1_000_000)
    run = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    assert writer.stdout
    while not (started := [pid for pid in tree.descendants(run.pid) if serves(pid)]):
        assert run.poll() is None
        writer.stdout.readline()
    everything = tree.descendants(run.pid)
    run.kill()
    writer.kill()
    run.wait(10)

    assert set(started) <= set(everything)
    assert not outliving(everything, within=5)
    writer.stdout.close()
    writer.wait(10)
    assert history.runs(Path("service"))
    assert history.notes == []


def serves(pid: int) -> bool:
    """Whether a process is a learner's service; the supervisor has it show itself as uvicorn."""
    try:
        return b"uvicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def spoil_whole(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def spoil_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[200:] = b"\xff" * (len(content) - 200)
    path.write_bytes(content)


def spoil_length(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("spoil", [spoil_whole, spoil_pages, spoil_length])
def test_a_spoilt_file_is_moved_aside_with_a_note(history: History, service: Path, spoil: object) -> None:
    history.record(service, examples.rich())
    assert callable(spoil)
    spoil(history.path)
    afterwards = History(history.path, "ada")
    afterwards.record(service, examples.passed())

    assert [run.points for run in afterwards.runs(service)] == [3]
    assert len(afterwards.notes) == 1
    assert "begins anew" in afterwards.notes[0]
    assert len(list(history.path.parent.glob("history.spoilt-*.db"))) == 1


def test_two_processes_move_a_spoilt_file_aside_once(history: History) -> None:
    history.path.parent.mkdir()
    spoil_whole(history.path)
    said = "".join(writer.communicate(timeout=60)[0] for writer in [write(history.path, 5) for _ in range(3)])

    assert len(list(history.path.parent.glob("history.spoilt-*.db"))) == 1
    assert said.count("begins anew") <= 5
    assert len(history.runs(Path("service"), limit=100)) == 15


@pytest.fixture(params=["folder", "file-above", "foreign"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a path at which no history of ours can be."""
    path = tmp_path / "home" / "history.db"
    if request.param == "file-above":
        path.parent.write_text("in the way")
    elif request.param == "folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as database:
            database.executescript("CREATE TABLE runs (other); PRAGMA user_version = 7")
    return path


def test_a_file_that_cannot_be_used_is_done_without(unusable: Path, service: Path) -> None:
    history = History(unusable, "ada")
    history.record(service, examples.rich())

    assert history.runs(service) == []
    assert history.show_hint(service, 4, "one", 3) == 1
    assert history.hints(service) == {}
    assert len(history.notes) >= 1
    assert "not remembered" in history.notes[0]


def test_home_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))

    assert History().path == tmp_path / "history.db"
