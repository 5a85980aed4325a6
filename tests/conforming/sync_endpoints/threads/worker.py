"""The worker: `celery -A threads.worker worker --pool threads`."""

from __future__ import annotations

import contextlib

import redis

from .environment import read
from .errands import Errands
from .ledger import Ledger
from .provider import ChatProvider, ProviderFailedError, ProviderRefusedError

ENVIRONMENT = read()
ERRANDS = Errands(ENVIRONMENT, Ledger(ENVIRONMENT))
PROVIDER = ChatProvider(ENVIRONMENT)
app = ERRANDS.celery


@app.task(name="answer", autoretry_for=(redis.RedisError,), max_retries=None, default_retry_delay=1)
def answer(task: str) -> None:
    body = ERRANDS.body(task)
    if body is None:
        return
    completion = None
    with contextlib.suppress(ProviderFailedError, ProviderRefusedError):
        completion = PROVIDER.complete(*body)
    ERRANDS.finish(task, completion)
