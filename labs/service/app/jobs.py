"""Answers that nobody waits for: a task in the database, a message in the queue, a worker that does it (section 9).

The database knows what was asked, by whom, and what came of it. The queue only says that there is something to do, so
losing or repeating one of its messages neither loses nor changes an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request, Response

from app.auth import CREDENTIALS, ProviderRoute, authorized, caller_of
from app.chat import Allowance
from app.roles import Role
from app.schemas import ChatRequest

if TYPE_CHECKING:
    from celery import Task as CeleryTask
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.model import Completion
    from app.settings import Settings
    from app.shared import Shared
    from app.store import Store

router = APIRouter(dependencies=CREDENTIALS)
provider_router = APIRouter(route_class=ProviderRoute, dependencies=CREDENTIALS)

KEPT_S = 3600.0
"""For how long tasks and idempotency keys are known."""
PUBLISHED_WITHIN_S = 5.0

# TODO (lab 9): Keep what was asked and what came of it; one caller's key names one task.


# TODO (lab 9): Put a task in once, whoever repeats the request, and no more of them than the queue may hold.


# TODO (lab 9): Add POST /chat-async (202, and where to look) and GET /chat-status/{task_id}, for the owner only.
