"""Tasks for Celery: who owns them, which are open, and what came of them stands in Redis."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import redis
from celery import Celery

from .environment import Environment
from .ledger import Ledger, RedisLostError
from .provider import Completion

KEPT_S = 4000


class TooManyError(Exception):
    """The queue is full."""


class AnotherError(Exception):
    """The key was used for another body."""


def new_celery(environment: Environment) -> Celery:
    celery = Celery("threads", broker=environment.REDIS_URL)
    celery.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": 2 * environment.LLM_TIMEOUT_S + 8,
            "unacked_restore_interval": 3,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 5,
            "socket_timeout": 5,
            "socket_connect_timeout": 1,
        },
    )
    return celery


class Errands:
    def __init__(self, environment: Environment, ledger: Ledger) -> None:
        self.environment, self.ledger = environment, ledger
        self.redis: Any = ledger.redis
        self.celery = new_celery(environment)

    def hand_in(self, caller: str, key: str | None, message: str, temperature: float) -> str:
        """The task's id. Raises TooManyError, AnotherError and RedisLostError."""
        task, body = str(uuid.uuid4()), json.dumps([message, float(temperature)])
        return str(self.ledger.asked(lambda: self.hand_in_new(task, caller, key, body)))

    def hand_in_new(self, task: str, caller: str, key: str | None, body: str) -> str:
        label = hashlib.sha256(json.dumps([caller, key]).encode()).hexdigest()
        mark = f"{task} {hashlib.sha256(body.encode()).hexdigest()}"
        self.redis.hset(f"errand:{task}", mapping={"caller": caller, "body": body})
        self.redis.expire(f"errand:{task}", KEPT_S)
        if key is not None and not self.redis.set(f"key:{label}", mark, nx=True, ex=KEPT_S):
            self.redis.delete(f"errand:{task}")
            known, fingerprint = self.redis.get(f"key:{label}").decode().split()
            if fingerprint != mark.split()[1]:
                raise AnotherError
            return str(known)
        try:
            self.send(task)
        except BaseException:
            self.redis.delete(f"errand:{task}", *([f"key:{label}"] if key is not None else []))
            self.redis.srem("errands", task)
            raise
        return task

    def send(self, task: str) -> None:
        self.redis.sadd("errands", task)
        if self.redis.scard("errands") > self.environment.QUEUE_MAX:
            raise TooManyError
        try:
            self.celery.send_task("answer", (task,), retry=False)
        except Exception as error:  # kombu's errors are of many kinds
            raise redis.ConnectionError from error

    def look(self, caller: str, task: str) -> dict[str, Any] | None:
        owner, result = self.ledger.asked(lambda: self.redis.hmget(f"errand:{task}", ["caller", "result"]))
        if owner is None or owner.decode() != caller:
            return None
        return json.loads(result) if result else {"status": "processing", "result": None}

    def body(self, task: str) -> tuple[str, float] | None:
        """What is asked, if it has not been answered."""
        body, result = self.redis.hmget(f"errand:{task}", ["body", "result"])
        return tuple(json.loads(body)) if body and not result else None

    def finish(self, task: str, completion: Completion | None) -> None:
        result = {"status": "failed", "result": None}
        if completion:
            told = {"response": completion.text, "tokens_used": completion.tokens, "model": completion.model}
            result = {"status": "complete", "result": told}  # type: ignore[dict-item]
        self.redis.hsetnx(f"errand:{task}", "result", json.dumps(result))
        self.redis.srem("errands", task)


__all__ = ["AnotherError", "Errands", "RedisLostError", "TooManyError"]
