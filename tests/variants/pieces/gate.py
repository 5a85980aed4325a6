"""Authentication in a middleware, before routing: a 401 belongs to no route, not even to one that there is."""

from __future__ import annotations

from app.auth import authorized
from app.problems import problem
from app.roles import Role
from fastapi import HTTPException, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = {"", "docs", "health", "livez", "login", "metrics", "openapi.json", "protected", "readyz"}
"""First segments of paths that everybody may ask for, or that ask for themselves."""
NEEDED = {"/chat-status": Role.GUEST, "/admin": Role.ADMIN}
USERS = {"/chat", "/chat/stream", "/summarize", "/batch-process", "/chat-async", "/expensive-operation"}


class Gate:
    """ASGI middleware: lets nobody pass who may not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await self._let_in(scope) if scope["type"] == "http" else self.app
        await app(scope, receive, send)

    async def _let_in(self, scope: Scope) -> ASGIApp:
        first = scope["path"].split("/")[1] if "/" in scope["path"] else scope["path"]
        if first in OPEN:
            return self.app
        least = Role.USER if scope["path"] in USERS else NEEDED.get("/" + first, Role.GUEST)
        try:
            scope.setdefault("state", {})["caller"] = await authorized(Request(scope), least)
        except HTTPException as refused:
            return problem(refused.status_code, refused.detail, refused.headers)
        except (SQLAlchemyError, TimeoutError):
            return problem(503, "The service cannot reach its data at the moment.", {"Retry-After": "2"})
        return self.app
