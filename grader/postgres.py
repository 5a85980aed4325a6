"""PostgreSQL: a real server of the run's own, driven by its programs, with a fresh database for whoever asks."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from grader import pgdata
from grader.parts import PartFailedError, Program, find_postgres
from grader.ports import HOST, ReservedPort
from grader.redis_server import NotOursError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from grader.supervisor import Process, Supervisor

START_LIMIT = 30.0
"""Seconds for a server to be ready, on a machine that is busy."""

_READY = "database system is ready to accept connections"
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "fsync": "off",  # a run's data need not survive the machine, only the server
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "dynamic_shared_memory_type": "mmap",  # containers have little /dev/shm
}
_ROLE = "lab"
_TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


class PostgresServer:
    """One server of a run; it keeps its port while it is stopped."""

    source: str
    program: Program | None

    def __init__(self, supervisor: Supervisor, directory: Path) -> None:
        """Start a server of our own, or use the one at ``POSTGRES_URL``.

        Raises ``PartMissingError`` and ``PartFailedError``.
        """
        self._supervisor = supervisor
        self._directory = directory
        self._process: Process | None = None
        self._port: ReservedPort | None = None
        self._made: list[str] = []
        self._holders: set[int] = set()
        self._role_password = secrets.token_hex(12)
        self.program = None
        if given := os.environ.get("POSTGRES_URL"):
            self.source, self._admin_url = "env", given
            return
        self.program = pgdata.runnable(find_postgres())
        self.source = self.program.source
        self._port = ReservedPort()
        try:
            self._create(self.program, self._port)
        except PartFailedError:
            self.close()
            raise
        self._execute(f"CREATE ROLE {_ROLE} LOGIN PASSWORD '{self._role_password}'")

    def _create(self, program: Program, port: ReservedPort) -> None:
        for last in (False, True):
            try:
                password = pgdata.fresh(program, self._directory, self._supervisor)
                self._admin_url = f"postgresql://{pgdata.SUPERUSER}:{password}@{HOST}:{port.number}/postgres"
                self.start()
            except PartFailedError:
                if last:
                    raise
                pgdata.discard_template(program)  # it may be damaged
            else:
                return

    @property
    def version(self) -> str:
        """The server's version."""
        return self.program.version if self.program else str(self._execute("SHOW server_version"))

    @property
    def port(self) -> int:
        """The server's port."""
        return self._port.number if self._port else urlsplit(self._admin_url).port or 5432

    @property
    def pid(self) -> int:
        """The server's process id; 0 while it is stopped."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it on its port and return when it accepts logins. Raises ``PartFailedError``."""
        if self._process:
            return
        log = self._directory.with_name("postgres.log")
        process = self._spawn(log)
        if not process.wait_for_output(_READY, START_LIMIT):
            process.stop(grace=0)
            raise PartFailedError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-500:]}")
        self._process = process

    def _spawn(self, log: Path) -> Process:
        program, port = self._ours()
        settings = [f"{name}={value}" for name, value in (_SETTINGS | {"port": str(port.number)}).items()]
        options = ["-D", str(self._directory), *(word for setting in settings for word in ("-c", setting))]
        user, env = pgdata.server_user(), {"LC_ALL": "C", "TZ": "UTC"}
        if user is None:
            return self._supervisor.spawn([str(program.path), *options], env=env, cwd=self._directory, log=log)
        folder = os.open(self._directory, os.O_RDONLY)
        options[1] = f"/proc/self/fd/{folder}"  # that user may not walk there, so it is handed over
        argv = [str(program.path), *options]
        try:
            return self._supervisor.spawn(argv, env=env, cwd=Path("/"), log=log, fds=(folder,), user=user)
        finally:
            os.close(folder)

    def _ours(self) -> tuple[Program, ReservedPort]:
        if not (self.program and self._port):
            raise NotOursError("The server at POSTGRES_URL is not the grader's to start or stop; unset POSTGRES_URL")
        return self.program, self._port

    def stop(self) -> None:
        """Stop it as an administrator does (fast shutdown): connections end, new ones are refused, data stay."""
        self._ours()
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        """End it in PostgreSQL's way: a server that is killed leaves shared memory behind."""
        if self._process:
            self._process.signal(number)
            self._process.wait(5.0)
            self._process.stop(grace=0)
            self._process = None

    def new_database(self) -> PostgresDatabase:
        """Create an empty database."""
        name = f"lab_{secrets.token_hex(4)}"
        admin = urlsplit(self._admin_url)
        if self.program is None:
            self._execute(f"CREATE DATABASE {name}")
            login = f"{admin.username}:{admin.password}" if admin.password else f"{admin.username or ''}"
        else:
            self._execute(f"CREATE DATABASE {name} OWNER {_ROLE}")
            login = f"{_ROLE}:{self._role_password}"
        self._made.append(name)
        place = f"{admin.hostname or HOST}:{admin.port or 5432}"
        return PostgresDatabase(self, name, f"postgresql://{login}@{place}/{name}")

    def recreate(self, name: str) -> None:
        """Drop a database and create it again, empty."""
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._execute(f"CREATE DATABASE {name}" + ("" if self.program is None else f" OWNER {_ROLE}"))

    def connections(self, name: str) -> int:
        """Count the open connections to a database."""
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND pid <> ALL(%s)"
        )
        return int(str(self._execute(asked, name, list(self._holders))))

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[Callable[[], None]]:
        """Let statements on the tables of a database wait until the function that is given is called, or to the end.

        Where somebody else holds a table for long, nothing waits.
        """
        import psycopg  # noqa: PLC0415  # as below

        with psycopg.connect(self._admin_url, dbname=name, connect_timeout=10) as connection:
            self._holders.add(connection.info.backend_pid)
            try:
                with contextlib.suppress(psycopg.OperationalError):
                    connection.execute("SET lock_timeout = '2s'")
                    tables = connection.execute(_TABLES).fetchall()
                    for (table,) in tables:
                        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
                yield connection.rollback
            finally:
                connection.rollback()
                self._holders.discard(connection.info.backend_pid)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[psycopg.Connection]:
        import psycopg  # noqa: PLC0415  # 0.1 s, for the labs that need it

        with psycopg.connect(self._admin_url, autocommit=True, connect_timeout=10) as connection:
            yield connection

    def _execute(self, statement: str, *values: str | list[int]) -> object:
        with self._connect() as connection:
            cursor = connection.execute(statement.encode(), values or None)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def close(self) -> None:
        """End it for good; where it was given, drop what we made there."""
        if self.program is None:
            for name in self._made:
                self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._end(signal.SIGQUIT)  # nobody reads the data again
        if self._port:
            self._port.close()


class PostgresDatabase:
    """One database of the run's server; to stop it is to stop the server."""

    def __init__(self, server: PostgresServer, name: str, url: str) -> None:
        self.server = server
        self.name = name
        self.url = url

    @property
    def source(self) -> str:
        """Where the server was found: ``env``, ``wheel`` or ``path``."""
        return self.server.source

    @property
    def version(self) -> str:
        """The server's version."""
        return self.server.version

    def wipe(self) -> None:
        """Drop it and create it again, empty; connections end."""
        self.server.recreate(self.name)

    def connections(self) -> int:
        """Count the connections that are open to it, those of the grader left out."""
        return self.server.connections(self.name)

    def start(self) -> None:
        """Start the server. Raises ``PartFailedError``."""
        self.server.start()

    def stop(self) -> None:
        """Stop the server: connections end, new ones are refused."""
        self.server.stop()

    def restart(self) -> None:
        """Stop the server and start it; data stay."""
        self.stop()
        self.start()

    def held(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Let statements on its tables wait until the function that is given is called, or to the end."""
        return self.server.held(self.name)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the server while inside."""
        self.stop()
        try:
            yield
        finally:
            self.start()
