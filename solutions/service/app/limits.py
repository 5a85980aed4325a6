"""Limits: so many requests, and so much work, for each caller (section 4)."""

from __future__ import annotations

import math  # SOLUTION 4
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request

from app.auth import CREDENTIALS, ProviderRoute, caller_of
from app.buckets import Bucket, SharedBuckets, survivable  # SOLUTION 4
from app.problems import invalid  # SOLUTION 4

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.buckets import Buckets, Taken
    from app.settings import Settings

router = APIRouter(route_class=ProviderRoute, dependencies=CREDENTIALS)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, keep the callers' buckets."""
    # BEGIN SOLUTION 4: Keep them in Redis.
    app.state.buckets = survivable(SharedBuckets(app.state.shared))
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


# BEGIN SOLUTION 4: Add POST /expensive-operation, which costs as many tokens as the caller says.
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
