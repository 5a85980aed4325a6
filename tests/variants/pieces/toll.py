"""Requests counted in a middleware: before anybody looks at what stands in them, so that a 422 costs one, too."""

from __future__ import annotations

from app import limits, telemetry
from app.auth import authorized
from app.problems import problem
from app.roles import Role
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PRICED = {"/chat", "/chat/stream", "/summarize", "/batch-process", "/chat-async"}


class Toll:
    """ASGI middleware: reads the body, asks who it is, and takes one request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in PRICED:
            await self.app(scope, receive, send)
            return
        try:
            app, body = await self._let_in(scope, receive)
        except HTTPException as refused:
            if refused.status_code == 429:
                telemetry.LIMITED.inc()  # whoever counts by routes does not see this one
            app, body = problem(refused.status_code, refused.detail, refused.headers), b""
        except (SQLAlchemyError, TimeoutError):
            app, body = problem(503, "The service cannot reach its data at the moment.", {"Retry-After": "2"}), b""
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await app(scope, again, send)

    async def _let_in(self, scope: Scope, receive: Receive) -> tuple[ASGIApp, bytes]:
        request = Request(scope, receive)
        request.state.caller = await authorized(request, Role.USER)
        body = await request.body()
        request.state.allowance = await limits.admit(request)
        return self.app, body
