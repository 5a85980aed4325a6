"""What all replicas share: one Redis (sections 3 to 5), and what becomes of the service without it (section 7)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis

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


# TODO (lab 7): Give Redis a moment to answer; if it does not, get along without it, and ask again a second later.


def guarded(redis: Redis) -> Shared:
    """Return the way to use a Redis."""
    # TODO (lab 7): Be ready to lose it.
    return Shared(redis)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, hold the connections to Redis; each opens when it is needed."""
    # TODO (lab 3): Connect to the Redis that all replicas share, through a pool that waits when it is empty.
    yield
