"""Earlier answers: MessagePack in Redis, by question, and by meaning in a sorted set for each caller."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .memory import Memory
from .options import Options
from .oracle import Oracle, Said, Unavailable

PACK, NEAR = msgspec.msgpack.encode, 120


class Kept(msgspec.Struct, array_like=True):
    at: float
    said: Said


class Place(msgspec.Struct, array_like=True):
    """Where a question lies: its sense, its vector, and the key of its answer."""

    sense: str
    vector: bytes
    key: str


def digest(*parts: object) -> str:
    return hashlib.sha256(PACK(parts)).hexdigest()[:40]


def sense(text: str) -> str:
    words = re.findall(r"[\w'’]+", text.lower())
    negations = {"not", "no", "never", "none", "without", "cannot"}
    negated = any(word in negations or re.search(r"n['’]t$", word) for word in words)
    return f"{negated} {re.findall(r'[0-9]+(?:[.][0-9]+)?', text)}"


class Answers:
    def __init__(self, options: Options, memory: Memory, oracle: Oracle) -> None:
        self.options = options
        self.memory = memory
        self.oracle = oracle
        self.flying: dict[str, asyncio.Task[tuple[str, Said]]] = {}

    async def ask(self, caller: str, text: str, temperature: float) -> tuple[str, Said]:
        """Where the answer comes from, and the answer."""
        scope = [caller, self.options.llm_model, float(temperature)]
        key = "c:" + digest(*scope, text)
        task = self.flying.get(key)
        if task is None:
            task = self.flying[key] = asyncio.create_task(self.find(key, "n:" + digest(*scope), text, temperature))
            task.add_done_callback(lambda done: self.landed(key, done))
        return await asyncio.shield(task)

    def landed(self, key: str, task: asyncio.Task[Any]) -> None:
        del self.flying[key]
        if not task.cancelled():
            task.exception()

    async def find(self, key: str, scope: str, text: str, temperature: float) -> tuple[str, Said]:
        kept = await self.kept(key)
        if kept and kept.at + self.options.cache_ttl_s >= time.time():
            return "HIT", kept.said
        vector = await self.oracle.embed(text) if self.options.semantic_cache_threshold else None
        if vector is not None and (said := await self.alike(scope, text, vector)):
            return "SEMANTIC", said
        try:
            said = await self.oracle.say(text, temperature)
        except Unavailable:
            if kept and kept.at + self.options.cache_stale_ttl_s >= time.time():
                kept.said.degraded = True
                return "STALE", kept.said
            raise
        if not said.degraded:
            await self.memory.maybe(self.keep(key, scope, text, vector, said))
        return "MISS", said

    async def kept(self, key: str) -> Kept | None:
        raw: Any = await self.memory.maybe(self.memory.redis.get(key))
        return msgspec.msgpack.decode(raw, type=Kept) if raw else None

    async def keep(self, key: str, scope: str, text: str, vector: NDArray[np.float32] | None, said: Said) -> None:
        redis, now = self.memory.redis, time.time()
        longest = math.ceil(max(self.options.cache_ttl_s, self.options.cache_stale_ttl_s))
        await redis.setex(key, longest, PACK(Kept(now, said)))
        if vector is not None:
            place = PACK(Place(sense(text), vector.tobytes(), key))
            await redis.zadd(scope, {place: now})
            await redis.zremrangebyrank(scope, 0, -NEAR - 1)
            await redis.expire(scope, math.ceil(self.options.cache_ttl_s))

    async def alike(self, scope: str, text: str, vector: NDArray[np.float32]) -> Said | None:
        fresh = time.time() - self.options.cache_ttl_s
        found: Any = await self.memory.maybe(self.memory.redis.zrange(scope, f"({fresh}", "+inf", byscore=True)) or []
        places = [msgspec.msgpack.decode(raw, type=Place) for raw in found]
        places = [each for each in places if each.sense == sense(text) and len(each.vector) == 4 * vector.size]
        if not places:
            return None
        table = np.frombuffer(b"".join(each.vector for each in places), np.float32).reshape(-1, vector.size)
        likeness = np.einsum("ij,j->i", table, vector)
        best = int(likeness.argmax())
        if likeness[best] < self.options.semantic_cache_threshold:
            return None
        kept = await self.kept(places[best].key)
        return kept.said if kept and kept.at > fresh else None
