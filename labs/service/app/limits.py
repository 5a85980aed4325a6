"""Limits: so many requests, and so much work, for each caller (section 4)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request

from app.auth import CREDENTIALS, ProviderRoute, caller_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.buckets import Buckets, Taken
    from app.settings import Settings

router = APIRouter(route_class=ProviderRoute, dependencies=CREDENTIALS)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, keep the callers' buckets."""
    # TODO (lab 4): Keep them in Redis.
    yield


# TODO (lab 4): Name the caller's two buckets; the braces keep them on one node of a Redis cluster.


async def admit(request: Request, tokens: int = 0) -> dict[str, str]:
    """Take one request, and `tokens` of work, from the caller's buckets; returns headers for the answer. Raises 429."""
    # TODO (lab 4): Take from both buckets at once; a batch that can never be paid for is a mistake in the request.
    return {}


async def one_request(request: Request) -> dict[str, str]:
    """Take one request from the caller's bucket; returns headers for the answer. Raises 429."""
    return await admit(request)


# TODO (lab 4): Add POST /expensive-operation, which costs as many tokens as the caller says.
