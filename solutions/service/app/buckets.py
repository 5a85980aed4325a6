"""Token buckets, counted by all replicas together (section 4).

What is kept of a bucket is one number: the time at which it will be full again. A bucket of which nothing is kept is
full, and in Redis the key expires when it is. (The same arithmetic under another name: GCRA, ITU-T I.371.)
"""

from __future__ import annotations

import time  # SOLUTION 7
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.errors import SharedDown  # SOLUTION 7

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.shared import Shared

LOCAL_BUCKETS = 10_000


@dataclass(frozen=True)
class Bucket:
    """A bucket, and how many tokens to take from it; `refill` is in tokens per second."""

    key: str
    capacity: float
    refill: float
    tokens: float


@dataclass(frozen=True)
class Taken:
    """What came of taking: seconds until it would be possible, 0 if it was; and what each bucket holds now."""

    wait: float
    left: list[float]


class Buckets(Protocol):
    """Takes tokens from all of some buckets, or from none."""

    async def take(self, wanted: Sequence[Bucket]) -> Taken:
        """Take the tokens if every bucket has enough."""


# BEGIN SOLUTION 4: Let one Lua script look and take: between two commands another request would slip through.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local wait, full, left = 0, {}, {}
for i, key in ipairs(KEYS) do
  local capacity, refill, tokens = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local before = math.max(now, tonumber(redis.call('GET', key) or now))
  full[i] = before + tokens * 1000000 / refill
  wait = math.max(wait, full[i] - now - capacity * 1000000 / refill)
  left[i] = {capacity - (before - now) * refill / 1000000, tokens}
end
local enough = wait < 100
for i, key in ipairs(KEYS) do
  if enough then
    redis.call('SET', key, string.format('%.17g', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
  end
  left[i] = string.format('%.6f', left[i][1] - (enough and left[i][2] or 0))
end
return {enough and '0' or string.format('%.6f', wait / 1000000), left}
"""
"""KEYS: buckets. ARGV: capacity, refill and tokens of each. The clock is Redis's, in microseconds, for those of the
replicas differ; a tenth of a millisecond is forgiven, for rounding."""


class SharedBuckets:
    """The buckets of all replicas."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._script = shared.script(SCRIPT)

    async def take(self, wanted: Sequence[Bucket]) -> Taken:
        """Take the tokens if every bucket has enough."""
        arguments = [number for bucket in wanted for number in (bucket.capacity, bucket.refill, bucket.tokens)]
        wait, left = await self._shared.run(self._script, [bucket.key for bucket in wanted], arguments)
        return Taken(float(wait), [float(tokens) for tokens in left])


# END SOLUTION


# BEGIN SOLUTION 7: Count in this process while Redis is away: a limit that is not exact is better than none.
class LocalBuckets:
    """The buckets of one process."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}

    async def take(self, wanted: Sequence[Bucket]) -> Taken:
        """Take the tokens if every bucket has enough."""
        now = time.monotonic()
        missing = [max(0.0, self._full_at.get(b.key, now) - now) * b.refill for b in wanted]
        wait = max((m + b.tokens - b.capacity) / b.refill for m, b in zip(missing, wanted, strict=True))
        if wait > 0:
            return Taken(wait, [b.capacity - m for m, b in zip(missing, wanted, strict=True)])
        missing = [m + b.tokens for m, b in zip(missing, wanted, strict=True)]
        self._full_at |= {b.key: now + m / b.refill for m, b in zip(missing, wanted, strict=True)}
        self._forget_full(now)
        return Taken(0, [b.capacity - m for m, b in zip(missing, wanted, strict=True)])

    def _forget_full(self, now: float) -> None:
        if len(self._full_at) > LOCAL_BUCKETS:
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}


class FallbackBuckets:
    """The buckets of all replicas or, while Redis is away, those of this process."""

    def __init__(self, shared: Buckets) -> None:
        self._shared = shared
        self._local = LocalBuckets()

    async def take(self, wanted: Sequence[Bucket]) -> Taken:
        """Take the tokens if every bucket has enough."""
        try:
            return await self._shared.take(wanted)
        except SharedDown:
            return await self._local.take(wanted)


# END SOLUTION


def survivable(shared: Buckets) -> Buckets:
    """Return buckets that outlive Redis."""
    # BEGIN SOLUTION 7: Fall back on those of this process.
    #: return shared
    return FallbackBuckets(shared)
    # END SOLUTION
