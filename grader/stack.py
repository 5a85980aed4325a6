"""Stack: the real Redis and databases of one run, started when they are first asked for."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING, Self

from grader.redis_server import NotOursError, Redis
from grader.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from grader.postgres import PostgresDatabase, PostgresServer
    from grader.supervisor import Supervisor

__all__ = ["NotOursError", "Redis", "SqliteDatabase", "Stack"]


class Stack:
    """The servers of one run; a context manager that ends them."""

    def __init__(self, supervisor: Supervisor, directory: Path) -> None:
        """Keep files in ``directory``; the caller removes it."""
        directory.mkdir(parents=True, exist_ok=True)
        self.supervisor = supervisor
        """Starts programs of the grader's own: unlike learners', they are never confined."""
        self._directory = directory
        self._redis: Redis | None = None
        self._postgres: PostgresServer | None = None
        self._names = itertools.count(1)

    @property
    def redis(self) -> Redis:
        """The run's Redis. Raises ``PartMissingError``."""
        if self._redis is None:
            self._redis = Redis(self.supervisor, self._directory)
        return self._redis

    def sqlite(self, name: str = "service") -> SqliteDatabase:
        """Return a fresh SQLite database."""
        folder = self._directory / f"sqlite-{next(self._names)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return SqliteDatabase(folder / f"{name}.db")

    def postgres(self) -> PostgresDatabase:
        """Return a fresh PostgreSQL database; one server holds those of a run. Raises ``PartMissingError``."""
        if self._postgres is None:
            from grader.postgres import PostgresServer  # noqa: PLC0415  # for the labs that need it

            self._postgres = PostgresServer(self.supervisor, self._directory / "postgres")
        return self._postgres.new_database()

    def close(self) -> None:
        """End the servers."""
        for server in (self._redis, self._postgres):
            if server:
                server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
