"""The database: SQLAlchemy Core, blocking, in threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .options import Options

HASH = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=19456, parallelism=1)])
NOBODY = HASH.hash("nobody at all")
GONE = (SQLAlchemyError, TimeoutError)
T = TypeVar("T")

metadata = sa.MetaData()
humans = sa.Table(
    "humans",
    metadata,
    sa.Column("handle", sa.String(32), primary_key=True),
    sa.Column("argon", sa.Text),
    sa.Column("role", sa.Text),
)
errands = sa.Table(
    "errands",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("caller", sa.Text),
    sa.Column("key", sa.Text),
    sa.Column("body", sa.Text),
    sa.Column("state", sa.Text, index=True),
    sa.Column("result", sa.Text),
    sa.Column("born", sa.Float),
    sa.UniqueConstraint("caller", "key"),
)


class Books:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.threads = ThreadPoolExecutor(20, "books")
        url = options.database_url.replace("postgresql:", "postgresql+psycopg:", 1)
        if url.startswith("sqlite"):
            how: dict[str, Any] = {"poolclass": sa.NullPool, "connect_args": {"timeout": 6}}
        else:
            how = {"pool_size": options.db_pool_size, "max_overflow": options.db_max_overflow, "pool_timeout": 4}
            how["connect_args"] = {"connect_timeout": 3}
        self.engine = sa.create_engine(url, hide_parameters=True, **how)

    async def do(self, work: Callable[[sa.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(self.threads, partial(self._do, work)), 6)

    def _do(self, work: Callable[[sa.Connection], T], *, again: bool = True) -> T:
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if again and error.connection_invalidated:  # the server has been restarted, and the pool was emptied now
                return self._do(work, again=False)
            raise

    # -- users --------------------------------------------------------------------------------------------------------

    async def prepare(self) -> bool:
        """Create and fill the tables; False while the database cannot be reached."""
        seeds = self.options.seed_users
        rows = [
            {"handle": one.username, "argon": await asyncio.to_thread(HASH.hash, one.password), "role": one.role}
            for one in seeds
        ]
        try:
            await asyncio.to_thread(self._prepare, rows)
        except GONE:
            return False
        return True

    def _prepare(self, rows: list[dict[str, str]]) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql("BEGIN")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(90210)")
            fresh = not sa.inspect(connection).has_table("humans")
            metadata.create_all(connection)
            if fresh and rows:
                connection.execute(sa.insert(humans), rows)
            connection.exec_driver_sql("COMMIT")

    async def keep_preparing(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            if await self.prepare():
                return

    async def human(self, handle: str) -> tuple[str, str] | None:
        if not handle.isascii() or "\0" in handle:
            return None
        asked = sa.select(humans.c.argon, humans.c.role).where(humans.c.handle == handle)
        row = await self.do(lambda connection: connection.execute(asked).first())
        return (row[0], row[1]) if row else None

    async def forget(self, handle: str) -> bool:
        gone = sa.delete(humans).where(humans.c.handle == handle.replace("\0", ""))
        return await self.do(lambda connection: connection.execute(gone).rowcount > 0)

    async def recognised(self, handle: str, password: str) -> bool:
        human = await self.human(handle)
        fits = await asyncio.to_thread(HASH.verify, password, human[0] if human else NOBODY)
        return fits and human is not None

    async def legible(self) -> None:
        await self.do(lambda connection: connection.execute(sa.select(humans.c.handle).limit(1)).first())
