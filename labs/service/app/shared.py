"""What all replicas share: one Redis (section 4)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from fastapi import FastAPI
    from redis.commands.core import AsyncScript

T = TypeVar("T")

CONNECTIONS = 50


class Shared:
    """The Redis of all replicas."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def call(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Run one operation. Raises SharedDown."""
        return await operation(self.redis)

    async def attempt(self, operation: Callable[[Redis], Awaitable[T]]) -> T | None:
        """Run one operation that the service can do without."""
        return await self.call(operation)

    def script(self, text: str) -> AsyncScript:
        """Return a Lua script; it is sent once and called by its hash from then on."""
        return self.redis.register_script(text)

    async def run(self, script: AsyncScript, keys: Sequence[str], args: Sequence[float]) -> Any:  # noqa: ANN401
        """Run a script, which Redis does in one step and in one round trip. Raises SharedDown."""
        return await self.call(lambda _: script(keys=keys, args=args))


def guarded(shared: Shared) -> Shared:
    """Return the shared memory in a form that may be lost."""
    return shared


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, hold the connections to Redis; they open when they are needed."""
    # TODO (lab 3): Connect to the Redis that all replicas share, through a pool that waits when it is empty.
    yield
