"""What can be seen from outside: one line of JSON for each event, one id for each request, numbers for Prometheus.

(Section 6.) Nothing that a user sent or that opens a door is ever written: no bodies, no headers, no query strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.settings import Settings

router = APIRouter(default_response_class=PlainTextResponse)

# TODO (lab 6): Add GET /metrics; labels come from short lists, never from what a client sends.


def count_tokens(model: str, tokens: int) -> None:
    """Count what a completion cost."""
    # TODO (lab 6): Count under the model that answered.


# TODO (lab 6): Write every line as one JSON object, those of the server and the libraries too.


def configure(settings: Settings) -> None:
    """Set logging up for the whole process."""
    # TODO (lab 6): Add time, level and request to each event; libraries may only warn: their details quote prompts.


# TODO (lab 6): Follow each request from its first byte to its last: id, time, status, one record.


class Telemetry:
    """ASGI middleware around everything else: gives each request an id, a record and its place in the metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch one request; what nobody else has caught becomes a 500 here."""
        # TODO (lab 6): Bind the id, pass the messages on, record before the last one leaves.
        await self.app(scope, receive, send)
