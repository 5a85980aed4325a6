"""Logs, request ids and metrics (section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def count_tokens(model: str, tokens: int) -> None:
    """Count what a completion cost."""


def request_id() -> str:
    """Return the id of the request that is being answered."""
    return ""


class Telemetry:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Todo."""
        await self.app(scope, receive, send)
