"""What all replicas share: one Redis (sections 3 to 5), and what becomes of the service without it (section 7)."""

from __future__ import annotations

import asyncio  # SOLUTION 7
import time  # SOLUTION 7
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import structlog  # SOLUTION 7
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError  # SOLUTION 7

from app.errors import SharedDown  # SOLUTION 7

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from fastapi import FastAPI
    from redis.commands.core import AsyncScript

T = TypeVar("T")

CONNECTIONS = 50
ANSWER_WITHIN_S = 0.8
TICK_S = 0.02
LEAVE_ALONE_S = 1.0


class Shared:
    """The Redis of all replicas."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def call(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Run one operation."""
        return await operation(self.redis)

    async def attempt(self, operation: Callable[[Redis], Awaitable[T]]) -> T | None:
        """Run one operation that the service can do without."""
        return await self.call(operation)

    def script(self, text: str) -> AsyncScript:
        """Return a Lua script; it is sent once and called by its digest from then on."""
        return self.redis.register_script(text)

    async def run(self, script: AsyncScript, keys: Sequence[str], args: Sequence[float]) -> Any:  # noqa: ANN401
        """Run a script, which Redis does in one step and in one round trip."""
        return await self.call(lambda _: script(keys=keys, args=args))


# BEGIN SOLUTION 7: Give Redis a moment to answer; if it does not, get along without it, and ask again a second later.
class GuardedShared(Shared):
    """A Redis that may be lost: refused or hanging, nobody waits for it for long."""

    _away_until = 0.0

    async def call(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Run one operation. Raises SharedDown, at once where it was so a moment ago."""
        if time.monotonic() < self._away_until:
            raise SharedDown
        try:
            return await patiently(operation(self.redis))
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + LEAVE_ALONE_S
            structlog.get_logger().warning("redis is away", reason=type(error).__name__)
            raise SharedDown from None

    async def attempt(self, operation: Callable[[Redis], Awaitable[T]]) -> T | None:
        """Run one operation; None where Redis is away."""
        try:
            return await self.call(operation)
        except SharedDown:
            return None


async def patiently(answer: Awaitable[T]) -> T:
    """Wait ANSWER_WITHIN_S for an answer, in ticks: if our own loop is late, that is not held against Redis."""
    task = asyncio.ensure_future(answer)
    try:
        for _ in range(round(ANSWER_WITHIN_S / TICK_S)):
            done, _ = await asyncio.wait({task}, timeout=TICK_S)
            if done:
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()  # has no effect on one that is done


# END SOLUTION


def guarded(redis: Redis) -> Shared:
    """Return the way to use a Redis."""
    # BEGIN SOLUTION 7: Be ready to lose it.
    #: return Shared(redis)
    return GuardedShared(redis)
    # END SOLUTION


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, hold the connections to Redis; each opens when it is needed."""
    # BEGIN SOLUTION 3: Connect to the Redis that all replicas share, through a pool that waits when it is empty.
    #: yield
    url = app.state.settings.redis_url.get_secret_value()
    async with (
        BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS) as pool,
        Redis.from_pool(pool) as redis,
    ):
        app.state.shared = guarded(redis)
        yield
    # END SOLUTION
