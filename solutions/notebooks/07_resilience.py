"""Notebook 07: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-07-problem
from http import HTTPStatus


def problem(status: int, request_id: str, error: Exception | None = None) -> dict:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "request_id": request_id}


# WRONG exercise-07-problem
from http import HTTPStatus


def problem(status: int, request_id: str, error: Exception | None = None) -> dict:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "request_id": request_id}
    return body | {"detail": str(error)}


# CELL exercise-07-pause
import random


def pause(attempt: int, left: float, told: float = 0.0) -> float | None:
    wait = max(told, random.uniform(0, min(2.0, 0.1 * 2**attempt)))
    return wait if wait < left else None


# WRONG exercise-07-pause
import random


def pause(attempt: int, left: float, told: float = 0.0) -> float | None:
    wait = max(told, min(2.0, 0.1 * 2**attempt))
    return wait if wait < left else None


# CELL exercise-07-breaker
def may_call(breaker: Breaker, now: float) -> bool:
    if breaker.failures < LIMIT:
        return True
    if breaker.probing or now < breaker.open_until:
        return False
    breaker.probing = True
    return True


# WRONG exercise-07-breaker
def may_call(breaker: Breaker, now: float) -> bool:
    return breaker.failures < LIMIT or now >= breaker.open_until
