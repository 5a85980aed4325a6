"""A worker without Celery: takes tasks out of the database by itself. `python -m app.poller`."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import openai
from app import telemetry
from app.errors import ModelError
from app.jobs import PROCESSING, Jobs, Task
from app.model import Prompt
from app.resilience import resilient
from app.settings import Settings
from app.store import Store, new_engine
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

AT_ONCE = 2
PAUSE_S = 0.1


class Poller:
    """Claims tasks for a time in which they can be done; a claim that has run out is anybody's."""

    def __init__(self, settings: Settings, http: openai.DefaultAsyncHttpxClient) -> None:
        self.store = Store(new_engine(settings))
        self.jobs = Jobs(self.store, settings.queue_max)
        self.model = resilient(settings, http)
        self.lease = 2 * settings.llm_timeout_s + 5

    async def run(self) -> None:
        while True:
            task = None
            with suppress(SQLAlchemyError, TimeoutError, OSError):
                task = await self.claimed()
                if task:
                    await self.do(task)
            if task is None:
                await asyncio.sleep(PAUSE_S)

    async def claimed(self) -> Task | None:
        now = time.time()
        async with self.store.session() as session:
            free = Task.status == PROCESSING, Task.claimed < now - self.lease  # type: ignore[attr-defined]
            task = await session.scalar(select(Task).where(*free).order_by(Task.created).limit(1))
            if task is None:
                return None
            mine = update(Task).where(Task.id == task.id, *free).values(claimed=now).returning(Task.id)
            won = await session.scalar(mine)
            await session.commit()
            return task if won else None

    async def do(self, task: Task) -> None:
        completion = None
        with suppress(ModelError):
            completion = await self.model.complete(Prompt(task.message, task.temperature))
        await self.jobs.finish(task.id, completion)


async def main() -> None:
    settings = Settings.from_environment()
    telemetry.configure(settings)
    async with openai.DefaultAsyncHttpxClient(timeout=settings.llm_timeout_s) as http:
        poller = Poller(settings, http)
        await asyncio.gather(*(poller.run() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main())
