"""The worker: does the tasks that the API takes in. Start it with `celery -A app.worker worker --concurrency 2`."""

from __future__ import annotations

import asyncio  # SOLUTION 9
from functools import cache  # SOLUTION 9
from typing import TYPE_CHECKING

import openai  # SOLUTION 9
import structlog  # SOLUTION 9
from celery import Celery  # SOLUTION 9
from celery.signals import setup_logging  # SOLUTION 9
from sqlalchemy.exc import SQLAlchemyError  # SOLUTION 9

from app import telemetry, tracing  # SOLUTION 9
from app.errors import ModelError  # SOLUTION 9
from app.jobs import Jobs  # SOLUTION 9
from app.model import Prompt  # SOLUTION 9
from app.resilience import resilient  # SOLUTION 9
from app.settings import Settings
from app.store import Store, new_engine  # SOLUTION 9

if TYPE_CHECKING:
    from app.model import Completion, Model

# BEGIN SOLUTION 9: Acknowledge a message when its task is done, so that it comes back if the worker dies before.
SETTINGS = Settings.from_environment()
LONGEST_TASK_S = 2 * SETTINGS.llm_timeout_s + 5

app = Celery("service", broker=SETTINGS.redis_url.get_secret_value())
app.conf.update(
    task_ignore_result=True,  # results are in the database, with their owners
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": LONGEST_TASK_S + 1,  # later than this, another worker takes over
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 10,
        "socket_connect_timeout": 1,
        "socket_timeout": 5,
    },
)


@setup_logging.connect
def configure_logging(**_: object) -> None:
    """Let the worker's lines look like the API's."""
    telemetry.configure(SETTINGS)


class Workplace:
    """What one worker process holds: an event loop, the model, the tasks."""

    def __init__(self) -> None:
        self.loop = asyncio.Runner()
        self.model: Model = resilient(SETTINGS, openai.DefaultAsyncHttpxClient(timeout=SETTINGS.llm_timeout_s))
        self.jobs = Jobs(Store(new_engine(SETTINGS)), SETTINGS.queue_max)

    async def do(self, task_id: str) -> None:
        """Do a task, unless it is done; a message may come twice."""
        task = await self.jobs.unfinished(task_id)
        if task:
            await self.jobs.finish(task_id, await self._completion(Prompt(task.message, task.temperature)))

    async def _completion(self, prompt: Prompt) -> Completion | None:
        try:
            return await self.model.complete(prompt)
        except ModelError:
            return None


@cache
def workplace() -> Workplace:
    """Return this process's workplace; made after the fork, for connections cannot be shared by processes."""
    return Workplace()


@app.task(
    name="answer", autoretry_for=(SQLAlchemyError, TimeoutError, OSError), max_retries=None, default_retry_delay=2
)
def answer(task_id: str) -> None:
    """Do one task; try again later while the database is away."""
    with tracing.unpacked(answer.request.headers or {}, "answer"):
        workplace().loop.run(workplace().do(task_id))
        structlog.get_logger().info("task done", task=task_id)


# END SOLUTION
