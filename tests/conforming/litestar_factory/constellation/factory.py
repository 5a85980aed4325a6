"""Routes, guards and the application."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypeVar

import httpx
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

from .memory import Memory
from .options import Options, read

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
    human = await connection.app.state.memory.human(claims["sub"])
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


# -- the model --------------------------------------------------------------------------------------------------------


class Unavailable(Exception):  # noqa: N818
    """The model gave no good answer."""


def question(options: Options, text: str, temperature: float, system: str = "") -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] if system else []
    return {
        "model": options.llm_model,
        "temperature": temperature,
        "messages": [*messages, {"role": "user", "content": text}],
    }


async def complete(request: Web, text: str, temperature: float = 0.7, system: str = "") -> tuple[str, int]:
    options: Options = request.app.state.options
    try:
        async with asyncio.timeout(options.llm_timeout_s):
            answer = await request.app.state.http.post(
                "chat/completions", json=question(options, text, temperature, system)
            )
        said = answer.raise_for_status().json()
        content, tokens = said["choices"][0]["message"]["content"], said["usage"]["total_tokens"]
    except (httpx.HTTPError, TimeoutError, ValueError, LookupError, TypeError):
        raise Unavailable from None
    if not content:
        raise Unavailable
    return content, tokens


class Spoken(Response[bytes]):
    """An answer that is written while the model speaks, and ends when the client goes."""

    def __init__(self, request: Web, text: str, temperature: float) -> None:
        super().__init__(b"")
        self.web = request
        self.asked = question(request.app.state.options, text, temperature)
        self.asked |= {"stream": True, "stream_options": {"include_usage": True}}

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self.write

    async def write(self, _: Scope, receive: Receive, send: Send) -> None:
        speaking = asyncio.create_task(self.speak(send))

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        leaving = asyncio.create_task(gone())
        await asyncio.wait({speaking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not speaking.done():
            speaking.cancel()
            await asyncio.wait({speaking})

    async def speak(self, send: Send) -> None:
        kind: list[tuple[bytes, bytes]] = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        async for name, data in self.events():
            said = f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
            await send({"type": "http.response.body", "body": said, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        tokens, over = None, False
        try:
            async with self.web.app.state.http.stream("POST", "chat/completions", json=self.asked) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        chunk = json.loads(line[6:])
                        tokens = (chunk.get("usage") or {}).get("total_tokens") or tokens
                        for choice in chunk["choices"]:
                            over = over or bool(choice.get("finish_reason"))
                            if choice["delta"].get("content"):
                                yield "token", {"text": choice["delta"]["content"]}
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            over = False
        yield ("done", {"tokens_used": tokens}) if over and tokens else ("error", {"reason": "broken off"})


# -- routes -----------------------------------------------------------------------------------------------------------


@get("/", sync_to_thread=False)
def root() -> dict[str, str]:
    return {"message": "constellation"}


@get("/health", sync_to_thread=False)
def health() -> dict[str, str]:
    return {"status": "healthy"}


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: Web) -> dict[str, Any]:
    return request.app.openapi_schema.to_schema()


@post("/chat", guards=[user_guard], status_code=200)
async def chat(request: Web) -> Response[dict[str, Any]]:
    ask = await parsed(request, Ask)
    text = message(ask.message)
    headers = await count(request)
    content, tokens = await complete(request, text, ask.temperature)
    body = {"response": content, "tokens_used": tokens, "model": request.app.state.options.llm_model}
    return Response(body, headers=headers)


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
    content, tokens = await complete(request, shorten.text, 0.3, f"Make it {shorten.length}.")
    return Response({"summary": content, "tokens_used": tokens}, headers=headers)


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
                return {"item": item, "response": (await complete(request, text))[0], "error": None}
            except Unavailable:
                return {"item": item, "response": None, "error": "unavailable"}

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
    if not shut and not await memory.recognised(handle, password):
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
    if not await request.app.state.memory.forget(handle):
        raise refusal(404, "no such user")
    return {"removed": handle}


def explain(_: Web, error: HTTPException) -> Response[dict[str, Any]]:
    return Response({"why": error.detail}, status_code=error.status_code, headers=error.headers or {})


def unavailable(_: Web, __: Unavailable) -> Response[dict[str, str]]:
    return Response({"why": "the model does not answer"}, status_code=503, headers={"Retry-After": "1"})


@asynccontextmanager
async def living(app: Litestar) -> AsyncIterator[None]:
    options: Options = app.state.options
    bound_the_end()
    preparing = None
    if not await app.state.memory.prepare():
        preparing = asyncio.create_task(app.state.memory.keep_preparing())
    headers = {"Authorization": f"Bearer {options.openai_api_key}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=40)
    base = options.openai_base_url.rstrip("/") + "/"
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=options.llm_timeout_s, limits=limits) as http:
        app.state.http = http
        yield
    if preparing:
        preparing.cancel()


def bound_the_end() -> None:
    """Six seconds after SIGTERM nothing is waited for any longer."""
    earlier: Any = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: Any) -> None:
        timer = threading.Timer(6, lambda: os._exit(0))
        timer.daemon = True
        timer.start()
        earlier(number, frame)

    signal.signal(signal.SIGTERM, end)


def build() -> Litestar:
    options = read()
    routes = [root, health, openapi, chat, chat_stream, summarize, batch, expensive, login, protected, remove]
    return Litestar(
        routes,
        state=State({"options": options, "memory": Memory(options)}),
        lifespan=[living],
        exception_handlers={HTTPException: explain, Unavailable: unavailable},
        request_max_body_size=options.max_body_bytes,
        openapi_config=OpenAPIConfig(
            "Constellation", "0.1.0", path="/docs", render_plugins=[SwaggerRenderPlugin(path="/")]
        ),
    )
