"""What all replicas share in Redis: buckets, failures; and what a process counts by itself without it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from .options import Options

T = TypeVar("T")

POUR = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local size, speed, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level, seen = size, now
local kept = redis.call('GET', KEYS[1])
if kept then level, seen = string.match(kept, '([^ ]+) ([^ ]+)') end
level = math.min(size, tonumber(level) + math.max(0, now - tonumber(seen)) * speed)
local enough = level + 0.000001 >= want
if enough then level = level - want end
redis.call('SETEX', KEYS[1], math.ceil(size / speed) + 1, string.format('%.9f %.6f', level, now))
return {enough and 1 or 0, string.format('%.6f', level), string.format('%.6f', math.max(0, want - level) / speed)}
"""

FAIL = """
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count >= tonumber(ARGV[1]) then return redis.call('PTTL', KEYS[1]) end
if ARGV[2] ~= '0' then
  redis.call('INCR', KEYS[1])
  if count == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end
return 0
"""


class Lost(Exception):  # noqa: N818
    """Redis does not answer in time, or did not just now."""


class Memory:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.redis = Redis(connection_pool=BlockingConnectionPool.from_url(options.redis_url, max_connections=40))
        self.pour = self.redis.register_script(POUR)
        self.fail = self.redis.register_script(FAIL)
        self.lost_until = 0.0
        self.levels: dict[str, tuple[float, float]] = {}
        self.failures: dict[str, tuple[int, float]] = {}

    async def sure(self, answer: Awaitable[T]) -> T:
        """An answer of Redis. Raises Lost."""
        if time.monotonic() < self.lost_until:
            getattr(answer, "close", lambda: None)()
            raise Lost
        try:
            return await asyncio.wait_for(answer, 0.8)
        except (RedisError, OSError, TimeoutError):
            self.lost_until = time.monotonic() + 1
            logging.getLogger("constellation").warning("redis is lost")
            raise Lost from None

    async def maybe(self, answer: Awaitable[T]) -> T | None:
        try:
            return await self.sure(answer)
        except Lost:
            return None

    # -- counts -------------------------------------------------------------------------------------------------------

    async def take(self, key: str, size: float, speed: float, want: float) -> tuple[bool, float, float]:
        """Whether there was enough, what is left, and the seconds until there is enough."""
        try:
            enough, level, wait = await self.sure(self.pour(keys=[key], args=[size, speed, want]))
        except Lost:
            return self.take_here(key, size, speed, want)
        return bool(enough), float(level), float(wait)

    def take_here(self, key: str, size: float, speed: float, want: float) -> tuple[bool, float, float]:
        now = time.monotonic()
        level, seen = self.levels.pop(key, (size, now))
        level = min(size, level + (now - seen) * speed)
        enough = level >= want
        level -= want if enough else 0
        self.levels[key] = level, now
        if len(self.levels) > 10_000:
            del self.levels[next(iter(self.levels))]
        return enough, level, max(0.0, want - level) / speed

    async def request(self, caller: str) -> tuple[bool, float, float]:
        limit = self.options.rate_limit_requests
        return await self.take(f"r:{caller}", limit, limit / self.options.rate_limit_window_s, 1)

    async def work(self, caller: str, tokens: int) -> tuple[bool, float, float]:
        return await self.take(f"w:{caller}", self.options.bucket_capacity, self.options.bucket_refill_per_s, tokens)

    async def shut(self, who: str, *, failed: bool) -> int:
        """Whole seconds for which a username is shut, perhaps after one more failure."""
        window = math.ceil(self.options.login_window_s * 1000) if failed else 0
        asked: Any = self.fail(keys=[f"f:{who}"], args=[self.options.login_max_failures, window])
        try:
            return math.ceil(int(await self.sure(asked)) / 1000)
        except Lost:
            now = time.monotonic()
            self.failures = {name: kept for name, kept in self.failures.items() if kept[1] > now}
            count, until = self.failures.get(who, (0, now + self.options.login_window_s))
            if count >= self.options.login_max_failures:
                return math.ceil(until - now)
            if failed:
                self.failures[who] = count + 1, until
            return 0
