"""Law: a cheat earns no more points than the honest service that it stands on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from grader.ports import ReservedPort
from grader.report import Outcome, Report
from grader.sandbox import CannotIsolateError
from grader.submission import BadSubmissionError, Submission
from grader.supervisor import SupervisorError
from tests.cheats import Cheat, all_cheats, judge, start_with, write_base
from tests.grading import SOLUTION, Grading, open_grading

CHEATS = all_cheats()

Points = Callable[[int, int], int]


@pytest.fixture(scope="session")
def honest(grading: Grading) -> Points:
    """The points in a lab of the service with so many labs solved; graded once a session."""

    @cache
    def points(solved: int, lab: int) -> int:
        folder = grading.scratch / f"honest-{solved}-{lab}"
        write_base(folder, solved)
        return grading(folder, [lab]).points

    return points


@pytest.fixture(scope="session")
def isolated() -> Iterator[Grading]:
    """Grade services that see and reach nothing but what they need."""
    try:
        with open_grading(isolate=True) as opened:
            yield opened
    except CannotIsolateError as reason:
        pytest.skip(str(reason))


def graded(cheat: Cheat, folder: Path, grading: Grading) -> Report | None:
    """The report on a cheat; none when it was refused."""
    cheat.write(folder)
    try:
        return grading(folder, cheat.labs)
    except BadSubmissionError:
        return None


@pytest.mark.law
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_cheat_is_worthless(cheat: Cheat, honest: Points, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    grading = request.getfixturevalue("isolated" if cheat.outside else "grading")
    report = graded(cheat, tmp_path / "submission", grading)
    for lab in report.labs if report else ():
        won = ", ".join(check.name for check in lab.checks if check.points)
        assert lab.points <= honest(cheat.solved, lab.number), f"{cheat.trick}: passed {won}"
    passed = {check.name for check in report.checks if check.outcome is Outcome.PASSED} if report else set()
    fooled = {one.__name__.removeprefix("check_") for one in cheat.seen_by} & passed
    assert not fooled, f"{cheat.trick}: not seen by {', '.join(sorted(fooled))}"


@pytest.mark.law
@pytest.mark.parametrize("cheat", [judge.only_when("True"), judge.FOUND], ids=lambda cheat: cheat.name)
def test_the_same_trick_would_pay(cheat: Cheat, grading: Grading, honest: Points, tmp_path: Path) -> None:
    """Where the grader was recognised, or what others wrote could be read: so the proofs above prove something."""
    report = graded(cheat, tmp_path / "submission", grading)
    assert report
    assert report.points > honest(cheat.solved, 2)


ASKS_ANOTHER = """
import http.client


def forward(scope, data):
    connection = http.client.HTTPConnection("127.0.0.1", {port}, timeout=5)
    headers = dict((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    connection.request(scope["method"], scope["path"], data, headers)
    answer = connection.getresponse()
    return answer.status, [(name.lower(), value) for name, value in answer.getheaders()], answer.read().decode()


async def answer(scope, receive, send):
    data = await read(receive)
    try:
        answer = await asyncio.to_thread(forward, scope, data)
    except OSError:
        answer = await heard(scope, data)
    await tell(send, *answer)
"""


@pytest.mark.law
def test_a_neighbour_s_service_cannot_be_asked(
    grading: Grading, isolated: Grading, honest: Points, tmp_path: Path
) -> None:
    """Where strangers are kept in; from outside nobody could tell."""
    with grading.workshop.bench(Submission.at(SOLUTION), "neighbour") as bench:
        port = bench.start().address[1]
        cheat = Cheat("asks a finished service next door", 0, (1,), ASKS_ANOTHER.replace("{port}", str(port)))
        cheat.write(tmp_path)
        assert grading(tmp_path, cheat.labs).points > honest(0, 1), "the trick would not even pay"
        assert isolated(tmp_path, cheat.labs).points <= honest(0, 1)


LEAVES_A_SERVER = """
import os
from app.main import app

if not os.fork():
    os.setsid()
    if not os.fork():
        import uvicorn
        uvicorn.run(app, host="127.0.0.1", port={port}, log_level="critical")
    os._exit(0)
"""


@pytest.mark.law
def test_a_server_left_behind_helps_nobody(grading: Grading, tmp_path: Path) -> None:
    reserved, served, over = ReservedPort(), threading.Event(), threading.Event()

    def look() -> None:
        while not over.wait(0.02) and not served.is_set():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", reserved.number)) == 0:
                    served.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    cheat = Cheat("leaves a server", 2, (1,), files={"app/left.py": LEAVES_A_SERVER.format(port=reserved.number)})
    cheat.write(tmp_path)
    start_with(tmp_path, "app.left:app")
    grading(tmp_path, [1])
    over.set()
    watcher.join()
    with socket.socket() as probe:
        left = probe.connect_ex(("127.0.0.1", reserved.number)) == 0
    reserved.close()
    assert served.is_set(), "the server was never there"
    assert not left


KILLS_ITS_KEEPERS = """
import pathlib, signal

above = [os.getppid()]
for _ in range(3):
    status = pathlib.Path(f"/proc/{above[-1]}/stat").read_text()
    above.append(int(status.rpartition(")")[2].split()[1]))


async def answer(scope, receive, send):
    for pid in reversed(above):
        if b"grader.launcher" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    await honest(scope, receive, send)
"""


@pytest.mark.law
def test_whoever_kills_the_judge_gets_nothing(tmp_path: Path) -> None:
    cheat = Cheat("kills its keepers and what started them", 1, (1,), KILLS_ITS_KEEPERS)
    cheat.write(tmp_path)
    with open_grading() as grading:
        try:
            points = grading(tmp_path, cheat.labs).points
        except SupervisorError:
            points = 0
    assert points == 0


def test_cheats_differ() -> None:
    names = [cheat.name for cheat in CHEATS]
    assert len(set(names)) == len(names) >= 20
