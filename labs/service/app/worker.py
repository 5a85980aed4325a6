"""The worker: does the tasks that the API takes in. Start it with `celery -A app.worker worker --concurrency 2`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:
    from app.model import Completion, Model

# TODO (lab 9): Acknowledge a message when its task is done, so that it comes back if the worker dies before.
