"""The door to the costly routes: some requests inside, the others wait in line, none for ever (section 9).

A process that works at a thousand requests at once answers all of them late. One that works at some of them, and lets
the others wait, answers most of them soon; whoever would wait too long is told when to come back.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.settings import Settings

INSIDE = 100
"""Requests of one process that are worked at; a waiting one costs almost nothing."""

_arrival: ContextVar[float] = ContextVar("arrival")


def note_arrival() -> None:
    """Remember when the request that is being answered came; its tasks inherit it."""
    _arrival.set(time.monotonic())


def seconds_left(budget: float) -> float:
    """Return what is left of a budget that began when the request arrived; all of it where nobody waits for one."""
    return budget - (time.monotonic() - _arrival.get(time.monotonic()))


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, keep the door."""
    # TODO (lab 9): Make places for the requests inside.
    yield


@asynccontextmanager
async def entered(app: FastAPI) -> AsyncIterator[None]:
    """Be inside for as long as an answer takes to begin. Raises 503 where the line is too long."""
    note_arrival()
    # TODO (lab 9): Wait in line for as long as two models may take; then it is better to say that it takes longer.
    yield
