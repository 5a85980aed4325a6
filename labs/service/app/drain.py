"""Stopping without breaking what is under way: what still runs at SIGTERM gets some seconds to end (section 1).

uvicorn stops listening at SIGTERM and then waits for the open requests, for ever if need be. Orchestrators do not: they
kill.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from app.problems import problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from types import FrameType

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STREAMS_END_AFTER_S = 5.0
REQUESTS_END_AFTER_S = 6.0

_streams: set[asyncio.Timeout] = set()
_requests: set[asyncio.Timeout] = set()


@asynccontextmanager
async def opened(_: FastAPI) -> AsyncIterator[None]:
    """While the service runs, be ready for SIGTERM."""
    # TODO (lab 1): At SIGTERM let the server's own handler do its work, and some seconds later end what still runs.
    yield


def expire(timeouts: set[asyncio.Timeout]) -> None:
    """Let the time of all these be over now."""
    for timeout in timeouts:
        if not timeout.expired():
            timeout.reschedule(0)


@asynccontextmanager
async def expirable(timeouts: set[asyncio.Timeout], deadline: float | None = None) -> AsyncIterator[asyncio.Timeout]:
    """Like `asyncio.timeout_at`, but `expire` can end it early."""
    async with asyncio.timeout_at(deadline) as timeout:
        timeouts.add(timeout)
        try:
            yield timeout
        finally:
            timeouts.discard(timeout)


def token_deadline(deadline: float) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """Bound the wait for the next token of a stream, by the loop's clock."""
    # TODO (lab 7): End it early when the process stops, so that the stream can say `event: error`.
    return asyncio.timeout_at(deadline)


class Drain:
    """ASGI middleware: ends a request when its time after SIGTERM is over."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503 where no answer has begun; an answer that has is cut off."""
        # TODO (lab 1): Run HTTP requests under a time limit that `expire` can set.
        await self.app(scope, receive, send)
