"""Users in SQLite, with the standard library; a connection for each piece of work."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
NOBODY = HASHER.hash("nobody")


def password_fits(stored: str | None, password: str) -> bool:
    try:
        return HASHER.verify(stored or NOBODY, password) and stored is not None
    except VerifyMismatchError:
        return False


class Users:
    def __init__(self, path: str, seeds: list[tuple[str, str, str]]) -> None:
        self.path = path
        self.seeds = seeds

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=5, isolation_level=None)) as connection:
            yield connection

    def create(self) -> None:
        hashed = [(name, HASHER.hash(password), role) for name, password, role in self.seeds]
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'people'").fetchone()
            if not known:
                connection.execute("CREATE TABLE people (name TEXT PRIMARY KEY, secret TEXT, role TEXT, gone INTEGER)")
                connection.executemany("INSERT INTO people VALUES (?, ?, ?, 0)", hashed)
            connection.execute("COMMIT")

    async def begin(self) -> asyncio.Task[None]:
        """Create the table, or let a task try again while the service runs already."""
        first = asyncio.Event()
        creating = asyncio.create_task(self._create_when_possible(first))
        await first.wait()
        return creating

    async def _create_when_possible(self, tried: asyncio.Event) -> None:
        while True:
            try:
                return await asyncio.to_thread(self.create)
            except sqlite3.Error:
                await asyncio.sleep(0.3)
            finally:
                tried.set()

    async def find(self, name: str) -> tuple[str, str] | None:
        """The hash and the role of a user who has not been deactivated."""
        return await asyncio.to_thread(self._find, name)

    def _find(self, name: str) -> tuple[str, str] | None:
        with self.connection() as connection:
            sql = "SELECT secret, role FROM people WHERE name = ? AND gone = 0"
            found: tuple[str, str] | None = connection.execute(sql, (name,)).fetchone()
            return found

    async def deactivate(self, name: str) -> bool:
        return await asyncio.to_thread(self._deactivate, name)

    def _deactivate(self, name: str) -> bool:
        with self.connection() as connection:
            return connection.execute("UPDATE people SET gone = 1 WHERE name = ? AND gone = 0", (name,)).rowcount == 1
