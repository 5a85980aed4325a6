"""The database: users, in a table that is made and filled once, whoever comes first (section 3)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

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
    # TODO (lab 9): Bound the pool, for all processes share one server, and test a connection before its use.
    return {}


# TODO (lab 3): Keep users in a table; make it and put the seed users in as one step, once, however many start.


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, hold the connections to the database."""
    # TODO (lab 3): Start although the database is away: keep trying to make the tables in the background.
    yield
