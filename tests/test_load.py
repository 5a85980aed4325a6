"""Load checks: Locust does what it is told and tells what happened; what the checks make of it."""

from __future__ import annotations

import itertools
import math
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from grader import load
from grader.generator import Generator, Result, Shot
from grader.load import CONNECTIONS, QUESTIONS, Rig, complaints, peak
from grader.report import Outcome
from grader.supervisor import Supervisor
from grader.target import CALLERS, Block, Target
from grader.usage import usage_of
from grader.verdict import Verdict
from tests.grading import Grading, failures
from tests.mutants import Mutant
from tests.mutants.lab_09_scaling import LOAD_MUTANTS

USERS = 30
PATIENCE = 2.0


class Answering(BaseHTTPRequestHandler):
    """Answers, or does what its path says."""

    seen: list[tuple[str, str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.seen.append((self.path, self.headers["x-api-key"], body))
        if self.path == "/hang":
            time.sleep(PATIENCE + 1)
        if self.path == "/reset":
            return
        self.send_response({"/shed": 503, "/fail": 500}.get(self.path, 200))
        if self.path == "/shed":
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Clients that have gone are part of the test."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    Answering.seen = []
    with Server(("127.0.0.1", 0), Answering) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    with Supervisor() as supervisor:
        started = Generator(supervisor, tmp_path_factory.mktemp("locust"), USERS)
        yield started
        started.close()
        until = time.monotonic() + 10
        while supervisor.descendants() and time.monotonic() < until:  # keepers end after those they kept
            time.sleep(0.05)
        assert not supervisor.descendants()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def shots(path: str, count: int, *, users: int = USERS, pause: float = 0.0) -> list[Shot]:
    return [Shot(n % users, n * pause, f"key-{n}", path, f'{{"message": "{n}"}}') for n in range(count)]


def test_each_request_is_sent_once(generator: Generator, server: Server) -> None:
    Answering.seen.clear()
    sent = shots("/chat", 200)
    results = generator.fire(url(server), sent)
    assert [result.status for result in results] == [200] * 200
    assert sorted(Answering.seen) == sorted((shot.path, shot.key, shot.body) for shot in sent)


def test_requests_are_sent_when_due(generator: Generator, server: Server) -> None:
    sent = shots("/chat", 20, pause=0.05)
    begun = time.monotonic()
    results = generator.fire(url(server), sent)
    for shot, result in zip(sent, results, strict=True):
        assert result.sent >= begun + shot.due
    assert [result.sent for result in results] == sorted(result.sent for result in results)


def test_a_user_waits_for_its_answer(generator: Generator, server: Server) -> None:
    results = generator.fire(url(server), shots("/chat", 10, users=1))
    for earlier, later in itertools.pairwise(results):
        assert later.sent >= earlier.finished


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/fail", (500, "", False)),
        ("/shed", (503, "", True)),
        ("/hang", (0, "timeout", False)),
        ("/reset", (0, "reset", False)),
    ],
)
def test_what_went_wrong_is_named(generator: Generator, server: Server, path: str, told: tuple[int, str, bool]) -> None:
    (found,) = generator.fire(url(server), shots(path, 1), PATIENCE)
    assert (found.status, found.error, found.retry) == told


def test_a_closed_port_is_refused(generator: Generator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (found,) = generator.fire(f"http://127.0.0.1:{port}", shots("/chat", 1))
    assert found.error == "refused"


def result(sent: float, seconds: float, status: int = 200, error: str = "", *, retry: bool = False) -> Result:
    return Result(sent, seconds, status, retry, error)


def test_peak_counts_what_is_under_way_at_once() -> None:
    assert peak([result(0, 2), result(1, 2), result(2.5, 1), result(9, 1)]) == 2
    assert peak([result(0, 1), result(1, 1)]) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], ""),
        ([result(0, 1, 503, retry=True)], ""),
        ([result(0, 1, 503, retry=True)] * 3, "3 were answered 503"),
        ([result(0, 1, 503)], "1 were 503"),
        ([result(0, 1, 500)] * 2, "2 were 500"),
        ([result(0, 0, 0, "refused")], "1 were refused"),
        ([result(0, 15, 0, "timeout")], "1 were not answered within 15 s"),
    ],
)
def test_complaints(wrong: Sequence[Result], said: str) -> None:
    assert complaints([*[result(0, 1)] * 200, *wrong]).startswith(said)
    assert bool(complaints([*[result(0, 1)] * 200, *wrong])) == bool(said)


@pytest.fixture
def target() -> Target:
    made = Target.__new__(Target)
    made.keys = [f"key-{n}" for n in range(CALLERS)]
    return made


def test_a_rate_is_spread_over_all_callers(target: Target) -> None:
    _, planned = target.shots(480, users=CALLERS, rate=100)
    assert [shot.due for shot in planned] == [n / 100 for n in range(480)]
    assert {shot.key for shot in planned} == set(target.keys)
    assert len({shot.body for shot in planned}) == 480


def test_a_crowd_asks_a_hundred_questions(target: Target) -> None:
    tag, planned = target.shots(CONNECTIONS, users=CONNECTIONS, rate=500, questions=QUESTIONS)
    assert len({shot.user for shot in planned}) == CONNECTIONS
    assert len({(shot.key, shot.body) for shot in planned}) == QUESTIONS
    assert all(tag in shot.body for shot in planned)


def block(seconds: float, lost: int = 0) -> Block:
    return Block(tuple(result(n, seconds) for n in range(100)), (math.inf,) * lost + (seconds,) * (100 - lost), 0.005)


def test_findings_speak_of_what_was_served() -> None:
    rig = Rig.__new__(Rig)
    rig.rate, rig.own, rig.others = 50.0, [block(0.3, lost=20)], [block(0.01)]
    assert "p95 is 300 ms" in rig.findings()[0]
    assert "the reference's 10 ms" in rig.findings()[0]
    assert rig.picture().marks[0].value == 200


def test_three_good_blocks_are_enough() -> None:
    assert Rig.verdict([Verdict.GOOD] * 3) is Verdict.GOOD
    assert Rig.verdict([Verdict.BAD] * 4) is Verdict.BAD
    assert Rig.verdict([Verdict.BAD, Verdict.OPEN, Verdict.GOOD]) is Verdict.OPEN


def test_usage_sees_files_and_processor_time(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        code = "import time; kept = [open('/dev/null') for _ in range(50)]; print('there', flush=True); time.sleep(60)"
        log = tmp_path / "log"
        process = supervisor.spawn([sys.executable, "-c", code], env={}, cwd=tmp_path, log=log)
        assert process.wait_for_output("there", 30)
        used = usage_of(process.pid)
        assert used.files >= 50
        assert used.cpu > 0
        assert used.memory > 1_000_000
        process.stop(0)
        assert usage_of(process.pid).files == 0


def test_there_is_room_for_what_the_system_allows() -> None:
    assert load.room_for(1)
    assert not load.room_for(10**9) or sys.platform != "linux"


@pytest.mark.parametrize("mutant", LOAD_MUTANTS, ids=lambda mutant: mutant.name)
def test_load_shows_the_fault(mutant: Mutant, grading: Grading) -> None:
    folder = grading.copy_of_solution(mutant.name)
    mutant.apply(folder)
    report = grading(folder, [9], only=mutant.checks, load=True)
    (found,) = report.checks
    if found.outcome is Outcome.INCONCLUSIVE:
        pytest.skip(f"the machine is too busy for load: {found.message}")
    assert found.outcome is Outcome.FAILED, failures(report)
