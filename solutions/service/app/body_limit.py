"""No body may be longer than we want to read (section 2; OWASP API4:2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from app.problems import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: answers 413 to bodies over MAX_BODY_BYTES, announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse an announced length at once, and count the bytes of a body that announces none."""
        # BEGIN SOLUTION 2: Check Content-Length, then count what comes: a chunked body has no Content-Length.
        #: await self.app(scope, receive, send)
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = scope["app"].state.settings.max_body_bytes
        if announced_length(scope) > limit:
            await problem(413, f"The body is longer than {limit} bytes.")(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, f"The body is longer than {limit} bytes.")
            return message

        await self.app(scope, counted, send)
        # END SOLUTION


def announced_length(scope: Scope) -> int:
    """Return the request's Content-Length, 0 where it has none."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
