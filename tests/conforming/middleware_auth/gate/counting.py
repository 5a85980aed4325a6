"""Counts in Redis: windows that begin with a caller's first request, and buckets kept as a hash."""

from __future__ import annotations

import math
from typing import Any

from redis.asyncio import Redis

from .config import Config

BUCKET = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local capacity, refill, price = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level = tonumber(kept[1]) or capacity
level = math.min(capacity, level + (now - (tonumber(kept[2]) or now)) * refill)
local lacking = price - level
if lacking <= 0 then level = level - price end
redis.call('HSET', KEYS[1], 'level', tostring(level), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * capacity / refill) + 1000)
return {tostring(lacking), tostring(level)}
"""


class Counting:
    def __init__(self, redis: Redis, config: Config) -> None:
        self.redis = redis
        self.config = config
        self.bucket = redis.register_script(BUCKET)

    async def window(self, key: str, length: float) -> tuple[int, float]:
        """Count one; the count in the key's window, and the seconds until it ends."""
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.incr(key)
            pipe.pexpire(key, math.ceil(length * 1000), nx=True)
            pipe.pttl(key)
            count, _, left = await pipe.execute()
        return int(count), max(0.0, left / 1000)

    async def refused_request(self, caller: str) -> float:
        """Count a request; seconds to wait if it is beyond the limit."""
        count, left = await self.window(f"requests/{caller}", self.config.window)
        return max(left, 0.001) if count > self.config.limit else 0.0

    async def take(self, caller: str, tokens: int) -> tuple[float, float]:
        """Take tokens; seconds to wait if there are too few, and what is in the bucket."""
        arguments: list[Any] = [self.config.capacity, self.config.refill, tokens]
        lacking, level = await self.bucket(keys=[f"tokens/{caller}"], args=arguments)
        return max(0.0, float(lacking)) / self.config.refill, float(level)

    async def failures(self, who: str) -> tuple[int, float]:
        """The failures of a username from an address, and the seconds until they are forgotten."""
        count, left = await self.redis.get(f"failed/{who}"), await self.redis.pttl(f"failed/{who}")
        return int(count or 0), max(0.001, left / 1000)

    async def fail(self, who: str) -> tuple[int, float]:
        return await self.window(f"failed/{who}", self.config.login_window)
