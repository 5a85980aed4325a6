"""The database: users, in a table that is made and filled once, whoever comes first (section 3)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, delete, insert, inspect, select  # SOLUTION 3
from sqlalchemy.exc import SQLAlchemyError  # SOLUTION 3
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine  # SOLUTION 3
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column  # SOLUTION 3
from sqlalchemy.pool import NullPool  # SOLUTION 3

from app.passwords import hashed  # SOLUTION 3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from fastapi import FastAPI
    from sqlalchemy import Connection

    from app.settings import Seed, Settings

ANSWER_WITHIN_S = 5.0
READY_WITHIN_S = 5.0
RETRY_AFTER_S = 0.5


def pool_options(settings: Settings) -> dict[str, Any]:
    """Return how many connections a process may hold, and how it finds out that one has died."""
    # BEGIN SOLUTION 9: Bound the pool, for all processes share one server, and test a connection before its use.
    #: return {}
    return {
        "pool_size": settings.db_pool_size,
        "max_overflow": settings.db_max_overflow,
        "pool_timeout": ANSWER_WITHIN_S,
        "pool_pre_ping": True,
    }
    # END SOLUTION


# BEGIN SOLUTION 3: Keep users in a table; make it and put the seed users in as one step, once, however many start.
class Base(DeclarativeBase):
    """The tables of the service."""


class User(Base):
    """Who can log in."""

    __tablename__ = "users"

    username: Mapped[str] = mapped_column(String(32), primary_key=True)
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(String(8))


def new_engine(settings: Settings) -> AsyncEngine:
    """Return the database, not connected yet. Errors of it do not quote parameters: they hold what users sent."""
    url = settings.database_url.get_secret_value()
    if url.startswith("sqlite"):
        # A connection that is opened anew notices when the file is another one or gone.
        return create_async_engine(url, hide_parameters=True, poolclass=NullPool, connect_args={"timeout": 10})
    return create_async_engine(url, hide_parameters=True, connect_args={"connect_timeout": 4}, **pool_options(settings))


class Store:
    """The users in the database. Every method raises SQLAlchemyError or TimeoutError when it cannot be reached."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Lend a connection for one piece of work, never for as long as a model takes to answer."""
        async with asyncio.timeout(ANSWER_WITHIN_S), AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    async def find(self, username: str) -> User | None:
        """Return a user."""
        async with self.session() as session:
            return await session.get(User, username)

    async def remove(self, username: str) -> bool:
        """Delete a user; tells whether there was one."""
        async with self.session() as session:
            gone = await session.scalar(delete(User).where(User.username == username).returning(User.username))
            await session.commit()
            return gone is not None

    async def ping(self) -> None:
        """Read from the users table."""
        async with self.session() as session:
            await session.execute(select(User.username).limit(1))

    async def prepare(self, seeds: Sequence[Seed]) -> None:
        """Make the tables; the users are put in with their table, never again, so that a deleted one stays deleted."""
        rows = [] if await self._prepared() else [await row(seed) for seed in seeds]
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")  # we begin and commit ourselves
            for statement in ALONE[self.engine.dialect.name]:
                await connection.exec_driver_sql(statement)
            fresh = not await connection.run_sync(has_users)
            await connection.run_sync(Base.metadata.create_all)
            if fresh and rows:
                await connection.execute(insert(User), rows)
            await connection.exec_driver_sql("COMMIT")

    async def _prepared(self) -> bool:
        async with self.engine.connect() as connection:
            return await connection.run_sync(has_users)


def has_users(connection: Connection) -> bool:
    """Tell whether the users table is there."""
    return inspect(connection).has_table(User.__tablename__)


async def row(seed: Seed) -> dict[str, str]:
    """Return a seed user as it is stored."""
    return {
        "username": seed.username,
        "password_hash": await hashed(seed.password.get_secret_value()),
        "role": seed.role,
    }


ALONE = {
    "sqlite": ["BEGIN IMMEDIATE"],
    "postgresql": ["BEGIN", "SELECT pg_advisory_xact_lock(20260504)"],  # any number that all replicas agree on
}
"""How to begin a transaction that other replicas wait for."""


async def prepare(store: Store, seeds: Sequence[Seed], tried: asyncio.Event) -> None:
    """Make and fill the tables as soon as the database can be reached; `tried` is set after the first attempt."""
    while True:
        try:
            return await store.prepare(seeds)
        except (SQLAlchemyError, OSError):
            await asyncio.sleep(RETRY_AFTER_S if tried.is_set() else 0)
        finally:
            tried.set()


# END SOLUTION


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, hold the connections to the database."""
    # BEGIN SOLUTION 3: Start although the database is away: keep trying to make the tables in the background.
    #: yield
    engine = new_engine(app.state.settings)
    app.state.store = Store(engine)
    tried = asyncio.Event()
    preparing = asyncio.create_task(prepare(app.state.store, app.state.settings.seed_users, tried))
    with suppress(TimeoutError):
        await asyncio.wait_for(tried.wait(), READY_WITHIN_S)
    yield
    preparing.cancel()
    await engine.dispose()
    # END SOLUTION
