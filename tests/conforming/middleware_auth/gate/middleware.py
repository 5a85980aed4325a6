"""The gate: who calls, may they, is the body short enough, are they within their limit? Only then the routes."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .config import ROLES, Config

if TYPE_CHECKING:
    from .counting import Counting
    from .users import Users

COUNTED = {"/chat", "/chat/stream", "/summarize", "/batch-process"}
GUARDED = COUNTED | {"/expensive-operation"}


class Refusal(Exception):  # noqa: N818
    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> JSONResponse:
        return JSONResponse({"error": str(self)}, self.status, self.headers)


class Gate:
    def __init__(self, app: ASGIApp, config: Config, users: Users, counting: Callable[[], Counting]) -> None:
        self.app = app
        self.config = config
        self.users = users
        self.counting = counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            receive = await self.admit(Request(scope), receive)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def admit(self, request: Request, receive: Receive) -> Receive:
        path = request.url.path
        if path == "/protected":
            request.state.caller = (await self.user(request))[0]
        elif path.startswith("/admin/"):
            self.demand(await self.caller(request), "admin")
        elif path in GUARDED:
            request.state.caller = self.demand(await self.caller(request), "user")
        body = await self.body(receive)
        if path in COUNTED and request.method == "POST":
            wait = await self.counting().refused_request(request.state.caller)
            if wait:
                raise Refusal(429, "too many requests", Retry_After=str(max(1, math.ceil(wait))))
        return replaying(body, receive)

    def demand(self, caller: tuple[str, str], least: str) -> str:
        if ROLES.index(caller[1]) < ROLES.index(least):
            raise Refusal(403, "not allowed")
        return caller[0]

    async def caller(self, request: Request) -> tuple[str, str]:
        if key := request.headers.get("x-api-key"):
            entry = self.config.keys.get(hashlib.sha256(key.encode("latin-1")).hexdigest())
            if entry is None:
                raise nobody()
            return f"client/{entry[0]}", entry[1]
        return await self.user(request)

    async def user(self, request: Request) -> tuple[str, str]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise nobody()
        try:
            claims = jwt.decode(
                token,
                self.config.secret,
                algorithms=["HS256"],
                audience=self.config.audience,
                issuer=self.config.issuer,
                options={"require": ["sub", "iss", "aud", "iat", "exp"]},
            )
        except (jwt.InvalidTokenError, ValueError):
            raise nobody() from None
        found = await self.users.find(str(claims["sub"]))
        if found is None:
            raise nobody()
        return f"user/{claims['sub']}", found[1]

    async def body(self, receive: Receive) -> list[Message]:
        """Read the whole body, or refuse it."""
        messages, length = [], 0
        while True:
            message = await receive()
            messages.append(message)
            length += len(message.get("body", b""))
            if length > self.config.body_limit:
                raise Refusal(413, "the body is too long")
            if not message.get("more_body"):
                return messages


def nobody() -> Refusal:
    return Refusal(401, "who are you?", WWW_Authenticate='Bearer realm="assistant"')


def replaying(messages: list[Message], receive: Receive) -> Receive:
    """Give the body again, then what comes after it: the client's going away."""
    waiting = list(messages)

    async def again() -> Message:
        return waiting.pop(0) if waiting else await receive()

    return again


async def until_gone(receive: Receive, work: Awaitable[None]) -> None:
    """Do the work, unless the client goes away."""
    task = asyncio.ensure_future(work)

    async def leave() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        task.cancel()

    watcher = asyncio.create_task(leave())
    try:
        await task
    except asyncio.CancelledError:
        task.cancel()
    finally:
        watcher.cancel()
