"""What outlives a request: users in SQLite, buckets and failures in Redis."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from typing import Any

import aiosqlite
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from redis.asyncio import BlockingConnectionPool, Redis

from .options import Options

HASH = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=19456, parallelism=1)])
NOBODY = HASH.hash("nobody at all")

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


class Memory:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.path = options.database_url.removeprefix("sqlite:///")
        self.redis = Redis(connection_pool=BlockingConnectionPool.from_url(options.redis_url, max_connections=25))
        self.pour = self.redis.register_script(POUR)
        self.fail = self.redis.register_script(FAIL)

    # -- users --------------------------------------------------------------------------------------------------------

    async def prepare(self) -> bool:
        """Create and fill the table; False while the database cannot be reached."""
        rows = [(each.username, await asyncio.to_thread(HASH.hash, each.password), each.role) for each in self.seeds]
        try:
            async with aiosqlite.connect(self.path, timeout=5, isolation_level=None) as db:
                await db.execute("BEGIN IMMEDIATE")
                found = await db.execute_fetchall("PRAGMA table_info(humans)")
                if not list(found):
                    await db.execute("CREATE TABLE humans (handle TEXT UNIQUE, argon TEXT, role TEXT)")
                    await db.executemany("INSERT INTO humans VALUES (?, ?, ?)", rows)
                await db.commit()
        except sqlite3.Error:
            return False
        return True

    @property
    def seeds(self) -> list[Any]:
        return list(self.options.seed_users)

    async def keep_preparing(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            if await self.prepare():
                return

    async def human(self, handle: str) -> tuple[str, str] | None:
        async with aiosqlite.connect(self.path, timeout=5) as db:
            rows = list(await db.execute_fetchall("SELECT argon, role FROM humans WHERE handle = ?", (handle,)))
        return (rows[0][0], rows[0][1]) if rows else None

    async def forget(self, handle: str) -> bool:
        async with aiosqlite.connect(self.path, timeout=5) as db:
            cursor = await db.execute("DELETE FROM humans WHERE handle = ?", (handle,))
            await db.commit()
            return cursor.rowcount > 0

    async def recognised(self, handle: str, password: str) -> bool:
        human = await self.human(handle)
        fits = await asyncio.to_thread(HASH.verify, password, human[0] if human else NOBODY)
        return fits and human is not None

    # -- counts -------------------------------------------------------------------------------------------------------

    async def take(self, key: str, size: float, speed: float, want: float) -> tuple[bool, float, float]:
        """Whether there was enough, what is left, and the seconds until there is enough."""
        enough, level, wait = await self.pour(keys=[key], args=[size, speed, want])
        return bool(enough), float(level), float(wait)

    async def request(self, caller: str) -> tuple[bool, float, float]:
        limit = self.options.rate_limit_requests
        return await self.take(f"r:{caller}", limit, limit / self.options.rate_limit_window_s, 1)

    async def work(self, caller: str, tokens: int) -> tuple[bool, float, float]:
        return await self.take(f"w:{caller}", self.options.bucket_capacity, self.options.bucket_refill_per_s, tokens)

    async def shut(self, who: str, *, failed: bool) -> int:
        """Whole seconds for which a username is shut, perhaps after one more failure."""
        window = math.ceil(self.options.login_window_s * 1000) if failed else 0
        left = await self.fail(keys=[f"f:{who}"], args=[self.options.login_max_failures, window])
        return math.ceil(int(left) / 1000)
