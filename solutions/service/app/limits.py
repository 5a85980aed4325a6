"""Limits: so many requests and so much work for each caller, counted by all replicas together (section 4).

Both are token buckets. What Redis keeps of a bucket is one number: the time at which it will be full again. A bucket
without a key is full, and the key expires by itself when it is. (The same arithmetic under another name: GCRA, ITU-T
I.371.)
"""

from __future__ import annotations

import math  # SOLUTION 4
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request

from app import resilience  # SOLUTION 4
from app.auth import ProviderRoute, caller_of
from app.problems import invalid  # SOLUTION 4

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from app.settings import Settings
    from app.shared import Shared

router = APIRouter(route_class=ProviderRoute)


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
  if enough and full[i] > now then
    redis.call('SET', key, string.format('%.17g', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
  end
  left[i] = string.format('%.6f', left[i][1] - (enough and left[i][2] or 0))
end
return {enough and '0' or string.format('%.6f', wait / 1000000), left}
"""
"""KEYS: buckets. ARGV: capacity, refill and tokens of each. The clock is Redis's, in microseconds, for replicas' clocks
differ; a tenth of a millisecond is forgiven for rounding."""


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


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, keep the callers' buckets."""
    # BEGIN SOLUTION 4: Keep them in Redis.
    app.state.buckets = resilience.buckets(SharedBuckets(app.state.shared))
    # END SOLUTION
    yield


# BEGIN SOLUTION 4: Name the caller's two buckets; the braces keep them on one node of a Redis cluster.
def requests_bucket(caller: str, settings: Settings) -> Bucket:
    """Return the bucket from which a request takes one."""
    limit = settings.rate_limit_requests
    return Bucket(f"limit:{{{caller}}}:requests", limit, limit / settings.rate_limit_window_s, 1)


def work_bucket(caller: str, settings: Settings, tokens: int) -> Bucket:
    """Return the bucket from which expensive work takes as much as it costs."""
    return Bucket(f"limit:{{{caller}}}:work", settings.bucket_capacity, settings.bucket_refill_per_s, tokens)


def allowance(bucket: Bucket, left: float) -> dict[str, str]:
    """Return the headers that tell a caller how much is left, and in how many seconds all of it will be back."""
    return {
        "X-RateLimit-Limit": str(math.floor(bucket.capacity)),
        "X-RateLimit-Remaining": str(math.floor(max(0, left) + 0.001)),
        "X-RateLimit-Reset": str(math.ceil((bucket.capacity - left) / bucket.refill)),
    }


def too_many(taken: Taken, headers: dict[str, str]) -> HTTPException:
    """Return the refusal that says when it is worth trying again (RFC 6585; RFC 9110, section 10.2.3)."""
    return HTTPException(429, "Too many requests.", headers | {"Retry-After": str(max(1, math.ceil(taken.wait)))})


# END SOLUTION


async def admit(request: Request, tokens: int = 0) -> dict[str, str]:
    """Take one request, and `tokens` of work, from the caller's buckets; returns headers for the answer. Raises 429."""
    # BEGIN SOLUTION 4: Take from both buckets at once; a batch that can never be paid for is a mistake in the request.
    #: return {}
    settings: Settings = request.app.state.settings
    if tokens > settings.bucket_capacity:
        raise invalid("items", f"more than {settings.bucket_capacity} items can never be paid for")
    caller = caller_of(request).id
    wanted = [requests_bucket(caller, settings)] + ([work_bucket(caller, settings, tokens)] if tokens else [])
    buckets: Buckets = request.app.state.buckets
    taken = await buckets.take(wanted)
    headers = allowance(wanted[0], taken.left[0])
    if taken.wait:
        raise too_many(taken, headers)
    return headers
    # END SOLUTION


async def one_request(request: Request) -> dict[str, str]:
    """Take one request from the caller's bucket; returns headers for the answer. Raises 429."""
    return await admit(request)


# BEGIN SOLUTION 4: Add an operation that costs as many tokens as the caller says.
@router.post("/expensive-operation")
async def expensive_operation(request: Request, tokens_needed: Annotated[int, Query(ge=1)] = 10) -> dict[str, float]:
    """Spend tokens."""
    settings: Settings = request.app.state.settings
    if tokens_needed > settings.bucket_capacity:
        raise invalid("tokens_needed", f"more than {settings.bucket_capacity}", where="query")
    buckets: Buckets = request.app.state.buckets
    taken = await buckets.take([work_bucket(caller_of(request).id, settings, tokens_needed)])
    if taken.wait:
        raise too_many(taken, {})
    return {"remaining": round(taken.left[0], 3)}


# END SOLUTION
