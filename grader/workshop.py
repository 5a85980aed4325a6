"""Workshop: what all labs of a run share is started, first what takes longest: the imports of learners' services."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from grader import limits
from grader.sandbox import Sandbox
from grader.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grader.worker import Workshop

PRELOAD = (
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "fastapi",
    "fastapi.responses",
    "pydantic_settings",
    "multipart",
    "uvicorn.protocols.websockets.auto",
    "anyio._backends._asyncio",
    "h11",
    "httpcore2",
    "numpy",
    "openai.resources.chat.completions.completions",
    "openai.resources.embeddings",
    "langchain_openai",
    "langchain_core.prompts",
    "redis.asyncio",
    "sqlalchemy.ext.asyncio",
    "aiosqlite",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "structlog",
    "prometheus_client",
    "jwt",
    "pwdlib.hashers.argon2",
)
"""Imports that services share; paid for once a run, then every start is a fork."""

PRELOAD_FOR_WORKERS = (
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.concurrency.prefork",
    "celery.worker.consumer.consumer",
    "kombu.transport.redis",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
)
"""Imports of background workers, and of services that share a PostgreSQL with them."""


@contextlib.contextmanager
def start_workshop(directory: Path, seed: int, *, isolate: bool = False, workers: bool = True) -> Iterator[Workshop]:
    """Start what all labs share; end it, and everything that was started through it, at the end.

    ``isolate`` keeps learners' processes in a sandbox; raises ``CannotIsolateError`` where there can be none.
    ``workers`` makes it ready for labs with background workers, too.
    """
    limits.raise_open_files()
    sandbox = Sandbox.at(directory) if isolate else None
    preload = PRELOAD + PRELOAD_FOR_WORKERS if workers else PRELOAD
    with contextlib.ExitStack() as ending:
        learners = ending.enter_context(Supervisor(preload=preload, sandbox=sandbox))
        from grader.provider import ProviderProcess  # noqa: PLC0415  # beside the imports of the services
        from grader.worker import Workshop  # noqa: PLC0415

        backends = ending.enter_context(Supervisor())
        yield Workshop(directory, seed, backends, learners, ProviderProcess.start(backends, directory))
