"""Answers kept twice: as MessagePack in hashes of Redis, and the latest ones in the process."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import cast

import msgpack  # type: ignore[import-untyped]
from app.cache import CachedAnswers, Kept
from app.model import Completion
from redis.asyncio import Redis

NEAR = 200


class NearAnswers(CachedAnswers):
    """Looks into its own memory, then into Redis."""

    _near: OrderedDict[str, Kept]

    async def _kept(self, key: str, lifetime: float) -> Kept | None:
        kept = self._at_hand().get(key) or await self._from_redis(key)
        if kept is None or time.time() - kept.at > lifetime:
            return None
        self._put_at_hand(key, kept)
        return kept

    async def _from_redis(self, key: str) -> Kept | None:
        async def fields(redis: Redis) -> list[bytes | None]:
            return cast("list[bytes | None]", await redis.hmget(f"answers/{key}", ["at", "answer"]))

        at, answer = await self._shared.attempt(fields) or (None, None)
        if at is None or answer is None:
            return None
        return Kept(Completion(*msgpack.unpackb(answer)), float(at))

    async def _keep(self, key: str, kept: Kept) -> None:
        longest = max(self._settings.cache_ttl_s, self._settings.cache_stale_ttl_s)
        made = kept.completion
        answer = msgpack.packb([made.text, made.tokens, made.model])

        async def put(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.hset(f"answers/{key}", mapping={"at": repr(kept.at), "answer": answer})
                pipe.expireat(f"answers/{key}", round(kept.at + longest) + 1)
                await pipe.execute()

        self._put_at_hand(key, kept)
        await self._shared.attempt(put)

    def _at_hand(self) -> OrderedDict[str, Kept]:
        if not hasattr(self, "_near"):
            self._near = OrderedDict()
        return self._near

    def _put_at_hand(self, key: str, kept: Kept) -> None:
        near = self._at_hand()
        near[key] = kept
        near.move_to_end(key)
        if len(near) > NEAR:
            near.popitem(last=False)
