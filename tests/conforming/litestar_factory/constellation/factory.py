"""Routes, guards and the application."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import jwt
import msgspec
from litestar import Litestar, Request, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.types import Receive, Scope, Send
from msgspec import Meta

from .answers import Answers
from .books import GONE, Books
from .errands import Errands, Full, Other, open_http
from .memory import Lost, Memory
from .options import Options, read
from .oracle import Hopeless, Oracle, Unavailable
from .watch import Watched, exposition, take_over_logging, trail

RANKS = ("guest", "user", "admin")
Web = Request[Any, Any, State]
T = TypeVar("T", bound=msgspec.Struct)


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    message: str
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7


class Shorten(msgspec.Struct, forbid_unknown_fields=True):
    text: Annotated[str, Meta(min_length=10, max_length=10000)]
    length: Literal["short", "medium", "long"] = "medium"


class Many(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[list[str], Meta(min_length=1, max_length=20)]


def refusal(status: int, text: str, **headers: str) -> HTTPException:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPException(status_code=status, detail=text, headers=named)


def stranger() -> HTTPException:
    return refusal(401, "unknown", WWW_Authenticate="Bearer, ApiKey")


# -- who calls --------------------------------------------------------------------------------------------------------


async def token_owner(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[str, str]:
    options: Options = connection.app.state.options
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "bearer":
        raise stranger()
    try:
        claims = jwt.decode(
            token,
            options.jwt_secret,
            algorithms=["HS256"],
            audience=options.jwt_audience,
            issuer=options.jwt_issuer,
            options={"require": ["sub", "iss", "aud", "iat", "exp"]},
        )
    except (jwt.InvalidTokenError, ValueError):
        raise stranger() from None
    human = await connection.app.state.books.human(claims["sub"])
    if human is None:
        raise stranger()
    return claims["sub"], human[1]


async def caller(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[str, str]:
    key = connection.headers.get("x-api-key")
    if key is None:
        handle, role = await token_owner(connection)
        return f"human {handle}", role
    options: Options = connection.app.state.options
    client = options.api_keys.get(hashlib.sha256(key.encode("latin-1")).hexdigest())
    if client is None:
        raise stranger()
    return f"client {client.client}", client.role


async def user_guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    connection.state["who"], role = await caller(connection)
    if role == "guest":
        raise refusal(403, "users only")


async def admin_guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if RANKS.index((await caller(connection))[1]) < 2:
        raise refusal(403, "admins only")


# -- what is asked ----------------------------------------------------------------------------------------------------


async def raw_body(request: Web) -> bytes:
    parts, length = [], 0
    try:
        async for part in request.stream():
            parts.append(part)
            length += len(part)
            if length > request.app.state.options.max_body_bytes:
                raise refusal(413, "too long")
    except HTTPException as error:
        raise refusal(413, "too long") from error
    return b"".join(parts)


async def parsed(request: Web, kind: type[T]) -> T:
    body = await raw_body(request)
    try:
        value: T = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise refusal(422, str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise refusal(422, "message, text or items: the body is not valid JSON") from None
    return value


def message(text: str, name: str = "message") -> str:
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= 4000:
        raise refusal(422, f"{name}: 1 to 4000 characters")
    return trimmed


async def count(request: Web) -> dict[str, str]:
    """Take one request; headers that tell what is left (draft-ietf-httpapi-ratelimit-headers)."""
    enough, left, wait = await request.app.state.memory.request(request.state["who"])
    if not enough:
        raise refusal(429, "too many requests", Retry_After=str(max(1, math.ceil(wait))))
    options: Options = request.app.state.options
    policy = f'"requests";q={options.rate_limit_requests};w={math.ceil(options.rate_limit_window_s)}'
    return {"RateLimit-Policy": policy, "RateLimit": f'"requests";r={math.floor(left)}'}


async def pay(request: Web, tokens: int) -> float:
    enough, left, wait = await request.app.state.memory.work(request.state["who"], tokens)
    if not enough:
        raise refusal(429, "too few tokens", Retry_After=str(max(1, math.ceil(wait))))
    return float(left)


# -- a stream ---------------------------------------------------------------------------------------------------------


class Spoken(Response[bytes]):
    """An answer that is written while the model speaks, and ends when the client goes."""

    def __init__(self, request: Web, text: str, temperature: float) -> None:
        super().__init__(b"")
        self.ending: asyncio.Event = request.app.state.ending
        self.parts = request.app.state.oracle.speak(text, temperature)

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self.write

    async def write(self, _: Scope, receive: Receive, send: Send) -> None:
        speaking = asyncio.create_task(self.speak(send))

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        leaving = [asyncio.create_task(gone()), asyncio.create_task(self.ending.wait())]
        await asyncio.wait({speaking, *leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not speaking.done():
            speaking.cancel()
            await asyncio.wait({speaking})
        for waiting in leaving:
            waiting.cancel()
        if self.ending.is_set() and speaking.cancelled():
            await send(
                {"type": "http.response.body", "body": event("error", {"reason": "we stop"}), "more_body": False}
            )

    async def speak(self, send: Send) -> None:
        kind: list[tuple[bytes, bytes]] = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        try:
            async with aclosing(self.parts) as parts:
                async for part in parts:
                    said = (
                        event("token", {"text": part})
                        if isinstance(part, str)
                        else event("done", {"tokens_used": part})
                    )
                    await send({"type": "http.response.body", "body": said, "more_body": True})
        except (Unavailable, Hopeless):
            said = event("error", {"reason": "broken off"})
            await send({"type": "http.response.body", "body": said, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


# -- routes -----------------------------------------------------------------------------------------------------------


@get("/", sync_to_thread=False)
def root() -> dict[str, str]:
    return {"message": "constellation"}


async def works(look: Awaitable[object]) -> str:
    try:
        await asyncio.wait_for(look, 2)
    except Exception:  # noqa: BLE001
        return "unhealthy"
    return "healthy"


@get("/health")
async def health(request: Web) -> Response[dict[str, Any]]:
    state = request.app.state
    looks = {"llm": state.oracle.offer(), "database": state.books.legible(), "redis": state.memory.redis.ping()}
    found = dict(zip(looks, await asyncio.gather(*map(works, looks.values())), strict=True))
    bad = [name for name, what in found.items() if what != "healthy"]
    status = "unhealthy" if "database" in bad else "degraded" if bad else "healthy"
    body = {"status": status, "timestamp": datetime.now(UTC).isoformat(timespec="seconds"), "checks": found}
    return Response(body, status_code=503 if "database" in bad else 200)


@get("/livez", sync_to_thread=False)
def livez() -> dict[str, bool]:
    return {"alive": True}


@get("/readyz")
async def readyz(request: Web) -> dict[str, bool]:
    if await works(request.app.state.books.legible()) != "healthy":
        raise refusal(503, "no database")
    return {"ready": True}


@get("/metrics", sync_to_thread=False)
def metrics() -> Response[bytes]:
    return exposition()


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: Web) -> dict[str, Any]:
    return request.app.openapi_schema.to_schema()


@post("/chat", guards=[user_guard], status_code=200)
async def chat(request: Web) -> Response[dict[str, Any]]:
    ask = await parsed(request, Ask)
    text = message(ask.message)
    headers = await count(request)
    source, said = await request.app.state.answers.ask(request.state["who"], text, ask.temperature)
    body = {"response": said.text, "tokens_used": said.tokens, "model": said.model, "from_cache": source != "MISS"}
    body |= {"degraded": True} if said.degraded else {}
    return Response(body, headers={**headers, "X-Cache": source})


@post("/chat/stream", guards=[user_guard], status_code=200)
async def chat_stream(request: Web) -> Response[bytes]:
    ask = await parsed(request, Ask)
    text = message(ask.message)
    await count(request)
    return Spoken(request, text, ask.temperature)


@post("/summarize", guards=[user_guard], status_code=200)
async def summarize(request: Web) -> Response[dict[str, Any]]:
    shorten = await parsed(request, Shorten)
    if not shorten.text.strip():
        raise refusal(422, "text: blank")
    headers = await count(request)
    said = await request.app.state.oracle.say(shorten.text, 0.3, f"Make it {shorten.length}.")
    return Response({"summary": said.text, "tokens_used": said.tokens}, headers=headers)


@post("/batch-process", guards=[user_guard], status_code=200)
async def batch(request: Web) -> Response[dict[str, Any]]:
    many = await parsed(request, Many)
    texts = [message(item, "items") for item in many.items]
    if len(texts) > request.app.state.options.bucket_capacity:
        raise refusal(422, "items: more than the bucket holds")
    headers = await count(request)
    await pay(request, len(texts))
    places = asyncio.Semaphore(7)

    async def one(item: str, text: str) -> dict[str, Any]:
        async with places:
            try:
                said = await request.app.state.oracle.say(text)
            except (Unavailable, Hopeless):
                return {"item": item, "response": None, "error": "unavailable"}
            return {"item": item, "response": said.text, "error": None}

    results = await asyncio.gather(*map(one, many.items, texts))
    return Response({"results": results}, headers=headers)


@post("/expensive-operation", guards=[user_guard], status_code=200)
async def expensive(request: Web) -> dict[str, float]:
    raw = request.query_params.get("tokens_needed", "")
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw[:12]) <= request.app.state.options.bucket_capacity:
        raise refusal(422, "tokens_needed: from 1 to the capacity")
    return {"remaining": await pay(request, int(raw))}


@post("/login", status_code=200)
async def login(request: Web) -> Response[dict[str, Any]]:
    form = await request.form()
    handle, password = form.get("username"), form.get("password")
    if not isinstance(handle, str) or not isinstance(password, str) or not handle or not password:
        raise refusal(400, "username and password are wanted, as a form")
    address = request.client.host if request.client else "?"
    who = f"{address}/{hashlib.sha256(handle.encode('utf-8', 'replace')).hexdigest()}"
    memory: Memory = request.app.state.memory
    shut = await memory.shut(who, failed=False)
    if not shut and not await request.app.state.books.recognised(handle, password):
        shut = await memory.shut(who, failed=True)
        if not shut:
            raise refusal(401, "no")
    if shut:
        raise refusal(429, "later", Retry_After=str(max(1, shut)))
    return Response(issued(handle, request.app.state.options), headers={"Cache-Control": "no-store"})


def issued(handle: str, options: Options) -> dict[str, Any]:
    now, ttl = int(time.time()), int(options.jwt_ttl_s)
    claims = {"sub": handle, "iss": options.jwt_issuer, "aud": options.jwt_audience, "iat": now, "exp": now + ttl}
    token = jwt.encode(claims, options.jwt_secret, algorithm="HS256")
    return {"access_token": token, "token_type": "bearer", "expires_in": ttl}


@get("/protected")
async def protected(request: Web) -> dict[str, str]:
    handle, _ = await token_owner(request)
    return {"message": f"Hello {handle}"}


@delete("/admin/users/{handle:str}", guards=[admin_guard], status_code=200)
async def remove(request: Web, handle: str) -> dict[str, str]:
    if not await request.app.state.books.forget(handle):
        raise refusal(404, "no such user")
    return {"removed": handle}


@post("/chat-async", guards=[user_guard], status_code=202)
async def chat_async(request: Web) -> Response[dict[str, str]]:
    ask = await parsed(request, Ask)
    text = message(ask.message)
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 128 and all("!" <= letter <= "~" for letter in key)):
        raise refusal(400, "Idempotency-Key: 1 to 128 visible characters")
    headers = await count(request)
    try:
        name = await request.app.state.errands.add(request.state["who"], key, text, ask.temperature)
    except Full:
        raise refusal(503, "too many errands", Retry_After="3") from None
    except Other:
        raise refusal(422, "Idempotency-Key: known, and not for this") from None
    return Response({"task_id": name, "status": "processing"}, headers={**headers, "Location": f"/chat-status/{name}"})


@get("/chat-status/{name:str}")
async def chat_status(request: Web, name: str) -> dict[str, Any]:
    who, _ = await caller(request)
    found = await request.app.state.errands.look(who, name)
    if found is None:
        raise refusal(404, "no such errand")
    return {"status": found[0], "result": found[1]}


# -- errors -----------------------------------------------------------------------------------------------------------


def problem(status: int, text: str, headers: Any = None) -> Response[dict[str, Any]]:
    body = {"type": f"urn:problem:{status}", "title": text, "status": status, "request_id": trail.get()}
    return Response(body, status_code=status, headers=headers or {}, media_type="application/problem+json")


def explain(_: Web, error: Exception) -> Response[dict[str, Any]]:
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail, error.headers)
    logging.getLogger("constellation").warning(type(error).__name__)
    if isinstance(error, Hopeless):
        return problem(502, "the model does not take it")
    if isinstance(error, (Unavailable, Lost, *GONE)):
        return problem(503, "what is needed is away", {"Retry-After": "1"})
    return problem(500, "unexpected")


@asynccontextmanager
async def living(app: Litestar) -> AsyncIterator[None]:
    options: Options = app.state.options
    state = app.state
    bound_the_end(state.ending)
    preparing = None
    if not await state.books.prepare():
        preparing = asyncio.create_task(state.books.keep_preparing())
    async with open_http(options) as http:
        state.oracle = Oracle(options, http)
        state.answers = Answers(options, state.memory, state.oracle)
        yield
    if preparing:
        preparing.cancel()
    state.books.engine.dispose()


def bound_the_end(ending: asyncio.Event) -> None:
    """Some seconds after SIGTERM streams are told so; a little later nothing is waited for any longer."""
    earlier: Any = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def end(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(loop.call_later, 4.5, ending.set)
        timer = threading.Timer(6, lambda: os._exit(0))
        timer.daemon = True
        timer.start()
        earlier(number, frame)

    signal.signal(signal.SIGTERM, end)


def build() -> Watched:
    options = read()
    take_over_logging(options.log_level)
    books, memory = Books(options), Memory(options)
    routes: list[Any] = [root, health, livez, readyz, metrics, openapi, chat, chat_stream, summarize, batch, expensive]
    routes += [login, protected, remove, chat_async, chat_status]
    known = {"options": options, "memory": memory, "books": books, "ending": asyncio.Event()}
    app = Litestar(
        routes,
        state=State({**known, "errands": Errands(options, books, memory)}),
        lifespan=[living],
        exception_handlers={HTTPException: explain, Exception: explain},
        request_max_body_size=options.max_body_bytes,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            "Constellation", "0.1.0", path="/docs", render_plugins=[SwaggerRenderPlugin(path="/")]
        ),
    )
    return Watched(app)
