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
    # BEGIN SOLUTION 1: At SIGTERM let the server's own handler do its work, and some seconds later end what still runs.
    loop = asyncio.get_running_loop()
    servers_own = signal.getsignal(signal.SIGTERM)

    def end_all() -> None:
        loop.call_later(STREAMS_END_AFTER_S, expire, _streams)
        loop.call_later(REQUESTS_END_AFTER_S, expire, _requests)

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end_all)
        if callable(servers_own):
            servers_own(number, frame)

    with suppress(ValueError):  # outside the main thread, in a test say, there are no signals to handle
        signal.signal(signal.SIGTERM, on_sigterm)
    # END SOLUTION
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
    # BEGIN SOLUTION 7: End it early when the process stops, so that the stream can say `event: error`.
    #: return asyncio.timeout_at(deadline)
    return expirable(_streams, deadline)
    # END SOLUTION


class Drain:
    """ASGI middleware: ends a request when its time after SIGTERM is over."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503 where no answer has begun; an answer that has is cut off."""
        # BEGIN SOLUTION 1: Run HTTP requests under a time limit that `expire` can set.
        #: await self.app(scope, receive, send)
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        async with expirable(_requests) as limit:
            try:
                await self.app(scope, receive, note)
            except asyncio.CancelledError:
                if begun or not limit.expired():
                    raise
                await problem(503, "The service stops.", {"Retry-After": "1"})(scope, receive, send)
        # END SOLUTION
