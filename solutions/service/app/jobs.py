"""Answers that nobody waits for: a task in the database, a message in the queue, a worker that does it (section 9).

The database knows what was asked, by whom, and what came of it. The queue only says that there is something to do, so
losing or repeating one of its messages neither loses nor changes an answer.
"""

from __future__ import annotations

import asyncio  # SOLUTION 9
import hashlib  # SOLUTION 9
import json  # SOLUTION 9
import time  # SOLUTION 9
import uuid  # SOLUTION 9
from typing import TYPE_CHECKING, Annotated, Any

import structlog  # SOLUTION 9
from fastapi import APIRouter, Header, HTTPException, Request, Response
from sqlalchemy import Text, UniqueConstraint, delete, func, select, update  # SOLUTION 9
from sqlalchemy.exc import IntegrityError  # SOLUTION 9
from sqlalchemy.orm import Mapped, mapped_column  # SOLUTION 9

from app import tracing  # SOLUTION 9
from app.auth import CREDENTIALS, ProviderRoute, authorized, caller_of
from app.chat import Allowance
from app.errors import SharedDown  # SOLUTION 9
from app.problems import invalid  # SOLUTION 9
from app.roles import Role
from app.schemas import ChatRequest
from app.store import Base  # SOLUTION 9

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

# BEGIN SOLUTION 9: Keep what was asked and what came of it; one caller's key names one task.
PROCESSING, COMPLETE, FAILED = "processing", "complete", "failed"


class Task(Base):
    """A question that a worker answers."""

    __tablename__ = "tasks"
    __table_args__ = (UniqueConstraint("caller", "idempotency_key"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    caller: Mapped[str]
    idempotency_key: Mapped[str | None]
    fingerprint: Mapped[str]
    message: Mapped[str] = mapped_column(Text)
    temperature: Mapped[float]
    created: Mapped[float] = mapped_column(index=True)
    status: Mapped[str] = mapped_column(index=True)
    response: Mapped[str | None] = mapped_column(Text)
    tokens_used: Mapped[int | None]
    model: Mapped[str | None]


def new_task(question: ChatRequest, caller: str, key: str | None) -> Task:
    """Return a task for a question."""
    body = json.dumps([question.message, question.temperature])
    return Task(
        id=uuid.uuid4().hex,
        caller=caller,
        idempotency_key=key,
        fingerprint=hashlib.sha256(body.encode()).hexdigest(),
        message=question.message,
        temperature=question.temperature,
        created=time.time(),
        status=PROCESSING,
    )


# END SOLUTION


# BEGIN SOLUTION 9: Put a task in once, whoever repeats the request, and no more of them than the queue may hold.
class Jobs:
    """The tasks in the database."""

    def __init__(self, store: Store, queue_max: int) -> None:
        self._store = store
        self._queue_max = queue_max

    async def add(self, task: Task) -> tuple[Task, bool]:
        """Return the task, or the one that its key names already, and whether it is new. Raises 422 and 503."""
        async with self._store.session() as session:
            if known := await self._known(session, task):
                return known, False
            await self._make_room(session)
            session.add(task)
            try:
                await session.commit()
            except IntegrityError:  # the same key was used at the same time
                await session.rollback()
                if known := await self._known(session, task):
                    return known, False
                raise
        return task, True

    async def _known(self, session: AsyncSession, task: Task) -> Task | None:
        """Return the task that the caller's key names."""
        if task.idempotency_key is None:
            return None
        same_key = Task.caller == task.caller, Task.idempotency_key == task.idempotency_key
        known = await session.scalar(select(Task).where(*same_key))
        if known and known.fingerprint != task.fingerprint:
            raise invalid("Idempotency-Key", "was used for another request", where="header")
        return known

    async def _make_room(self, session: AsyncSession) -> None:
        """Forget what is long past; refuse when too much is waiting still."""
        await session.execute(delete(Task).where(Task.created < time.time() - KEPT_S))
        waiting = await session.scalar(select(func.count()).where(Task.status == PROCESSING)) or 0
        if waiting >= self._queue_max:
            raise HTTPException(503, "Too many tasks are waiting.", {"Retry-After": "5"})

    async def find(self, task_id: str, caller: str) -> Task | None:
        """Return a task of this caller."""
        async with self._store.session() as session:
            return await session.scalar(select(Task).where(Task.id == task_id, Task.caller == caller))

    async def unfinished(self, task_id: str) -> Task | None:
        """Return a task that is still to do."""
        async with self._store.session() as session:
            return await session.scalar(select(Task).where(Task.id == task_id, Task.status == PROCESSING))

    async def finish(self, task_id: str, completion: Completion | None) -> None:
        """Write down what came of a task; the first to do so wins, a repetition changes nothing."""
        outcome: dict[str, Any] = {"status": FAILED}
        if completion:
            outcome = {"status": COMPLETE, "response": completion.text, "model": completion.model}
            outcome["tokens_used"] = completion.tokens
        async with self._store.session() as session:
            await session.execute(update(Task).where(Task.id == task_id, Task.status == PROCESSING).values(outcome))
            await session.commit()

    async def drop(self, task_id: str) -> None:
        """Forget a task."""
        async with self._store.session() as session:
            await session.execute(delete(Task).where(Task.id == task_id))
            await session.commit()


def answer_task() -> CeleryTask[..., None]:
    """Return Celery's handle for the work; importing Celery takes a moment, and it blocks, so do it in a thread."""
    from app.worker import answer  # noqa: PLC0415

    return answer


async def enqueue(jobs: Jobs, task: Task) -> None:
    """Tell the workers, or forget the task. Raises SharedDown."""
    answer = await asyncio.to_thread(answer_task)
    try:
        async with asyncio.timeout(PUBLISHED_WITHIN_S):
            await asyncio.to_thread(answer.apply_async, (task.id,), headers=tracing.luggage(), retry=False)
    except Exception as error:  # noqa: BLE001  # kombu's errors, Redis's, ours: nobody will do the task
        structlog.get_logger().warning("the queue is away", reason=type(error).__name__)
        await jobs.drop(task.id)
        raise SharedDown from None


# END SOLUTION


# BEGIN SOLUTION 9: Add POST /chat-async (202, and where to look) and GET /chat-status/{task_id}, for the owner only.
VISIBLE = r"^[!-~]{1,128}$"


def jobs_of(request: Request) -> Jobs:
    """Return the tasks."""
    settings: Settings = request.app.state.settings
    return Jobs(request.app.state.store, settings.queue_max)


@provider_router.post("/chat-async", status_code=202)
async def chat_async(
    question: ChatRequest,
    request: Request,
    response: Response,
    allowance: Allowance,
    idempotency_key: Annotated[str | None, Header(pattern=VISIBLE)] = None,
) -> dict[str, str]:
    """Answer a message later; a repetition with the same key (draft-ietf-httpapi-idempotency-key) adds nothing."""
    shared: Shared = request.app.state.shared
    await shared.call(lambda redis: redis.ping())  # without the queue the task would be done by nobody
    jobs = jobs_of(request)
    task, new = await jobs.add(new_task(question, caller_of(request).id, idempotency_key))
    if new:
        await enqueue(jobs, task)
    response.headers.update(allowance | {"Location": f"/chat-status/{task.id}"})
    return {"task_id": task.id, "status": PROCESSING}


@router.get("/chat-status/{task_id}")
async def chat_status(task_id: str, request: Request) -> dict[str, Any]:
    """Show what has become of a task; others' tasks look as if there were none (OWASP API1:2023)."""
    caller = await authorized(request, Role.GUEST)
    task = await jobs_of(request).find(task_id, caller.id) if task_id.isalnum() else None
    if task is None:
        raise HTTPException(404, "There is no such task.")
    result = {"response": task.response, "tokens_used": task.tokens_used, "model": task.model}
    return {"status": task.status, "result": result if task.status == COMPLETE else None}


# END SOLUTION
