"""The application: functions that block, each in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import anyio
import jwt
from fastapi import APIRouter, Depends, FastAPI, Form, Header, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import Answers
from .environment import Environment, read
from .errands import AnotherError, Errands, TooManyError
from .ledger import Ledger, RedisLostError
from .people import NOBODY, People, fits
from .provider import ChatProvider, ProviderFailedError, ProviderRefusedError
from .sight import Sight, configure, problem

RANKS = {"guest": 0, "user": 1, "admin": 2}
NEEDED = {
    "/chat": "user",
    "/chat/stream": "user",
    "/summarize": "user",
    "/batch-process": "user",
    "/chat-async": "user",
    "/expensive-operation": "user",
}


class Tools:
    """What the functions work with."""

    def __init__(self) -> None:
        self.environment: Environment = read()
        self.people = People(self.environment)
        self.ledger = Ledger(self.environment)
        self.provider = ChatProvider(self.environment)
        self.answers = Answers(self.environment, self.ledger, self.provider)
        self.errands = Errands(self.environment, self.ledger)
        self.ending = asyncio.Event()


class ShortBodies:
    """ASGI middleware that reads no more of a body than is allowed."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = 0

        async def measured() -> Message:
            nonlocal length
            message = await receive()
            length += len(message.get("body", b""))
            return message if length <= self.limit else {"type": "http.disconnect"}

        async def unless_too_long(message: Message) -> None:
            if length <= self.limit:
                await send(message)

        try:
            await self.app(scope, measured, unless_too_long)
        except Exception:
            if length <= self.limit:
                raise
        if length > self.limit:
            await problem(413)(scope, receive, send)


def identify(tools: Tools, headers: Any) -> tuple[str, str] | None:
    """The caller's identity and role."""
    if key := headers.get("x-api-key"):
        client = tools.environment.API_KEYS.get(hashlib.sha256(key.encode("latin-1")).hexdigest())
        return (f"key:{client.client}", client.role) if client else None
    username = user_of(tools, headers)
    found = tools.people.find(username) if username else None
    return (f"jwt:{username}", found[1]) if found else None


def user_of(tools: Tools, headers: Any) -> str | None:
    """Whom a token names, if it is good."""
    words = headers.get("authorization", "").split()
    if len(words) != 2 or words[0].lower() != "bearer":
        return None
    env = tools.environment
    wanted: Any = {"require": ["sub", "iss", "aud", "iat", "exp"]}
    try:
        claims = jwt.decode(
            words[1], env.JWT_SECRET, ["HS256"], wanted, audience=env.JWT_AUDIENCE, issuer=env.JWT_ISSUER
        )
    except (jwt.PyJWTError, ValueError):
        return None
    return str(claims["sub"])


def unknown() -> JSONResponse:
    return problem(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})


def encodable(text: str) -> str:
    text.encode()
    return text


def a_message(item: str) -> str:
    if not 1 <= len(item.strip()) <= 4000:
        raise ValueError("length")
    return encodable(item)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Question(Strict):
    message: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000), AfterValidator(encodable)
    ]
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.7


class Article(Strict):
    text: Annotated[str, StringConstraints(min_length=10, max_length=10000, pattern=r"\S"), AfterValidator(encodable)]
    length: Literal["short", "medium", "long"] = "medium"


class Questions(Strict):
    items: Annotated[list[Annotated[str, AfterValidator(a_message)]], Field(min_length=1, max_length=20)]


router = APIRouter()


def tools_of(request: Request) -> Tools:
    tools: Tools = request.app.state.tools
    return tools


WithTools = Annotated[Tools, Depends(tools_of)]


def counted(request: Request, tools: WithTools) -> None:
    """Count the request, once its body has been found good."""
    wait = tools.ledger.request(request.state.caller[0])
    if wait:
        raise HTTPException(429, "Slow down", {"Retry-After": str(int(wait) + 1)})


def take(tools: Tools, caller: str, tokens: int) -> float:
    wait, left = tools.ledger.take(caller, tokens)
    if wait:
        raise HTTPException(429, "Not enough tokens", {"Retry-After": str(wait)})
    return left


@router.get("/")
def root() -> dict[str, str]:
    return {"message": "threads"}


@router.get("/livez")
async def livez() -> str:
    return "yes"


def well(look: Callable[[], object]) -> str:
    try:
        look()
    except Exception as error:  # noqa: BLE001
        logging.getLogger("threads").debug(type(error).__name__)
        return "unhealthy"
    return "healthy"


@router.get("/readyz")
def readyz(tools: WithTools) -> str:
    if well(tools.people.ready) == "unhealthy":
        raise HTTPException(503, "no database")
    return "yes"


@router.get("/health")
def health(tools: WithTools) -> Response:
    looks = {"llm": tools.provider.offered, "database": tools.people.ready, "redis": tools.ledger.redis.ping}
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = dict(zip(looks, pool.map(well, looks.values()), strict=True))
    status = "degraded" if "unhealthy" in found.values() else "healthy"
    status = "unhealthy" if found["database"] == "unhealthy" else status
    checks = {name: {"status": state, "hard": name == "database"} for name, state in found.items()}
    body = {"status": status, "timestamp": datetime.now(UTC).isoformat(), "checks": checks}
    return JSONResponse(body, 503 if status == "unhealthy" else 200)


@router.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.post("/chat", dependencies=[Depends(counted)])
def chat(question: Question, request: Request, response: Response, tools: WithTools) -> dict[str, Any]:
    source, found = tools.answers.find(request.state.caller[0], question.message, question.temperature)
    response.headers["X-Cache"] = source
    told = {"response": found.text, "tokens_used": found.tokens, "model": found.model}
    return {**told, "from_cache": source != "MISS", "degraded": found.degraded}


@router.post("/chat-async", dependencies=[Depends(counted)], status_code=202)
def chat_async(
    question: Question,
    request: Request,
    response: Response,
    tools: WithTools,
    idempotency_key: Annotated[str | None, Header(pattern="^[!-~]{1,128}$")] = None,
) -> dict[str, str]:
    caller = request.state.caller[0]
    try:
        task = tools.errands.hand_in(caller, idempotency_key, question.message, question.temperature)
    except TooManyError:
        raise HTTPException(503, "Too many tasks", {"Retry-After": "4"}) from None
    except AnotherError:
        raise HTTPException(422, "Idempotency-Key: used before, for another body") from None
    response.headers["Location"] = f"/chat-status/{task}"
    return {"task_id": task, "status": "processing"}


@router.get("/chat-status/{task}")
def chat_status(task: str, request: Request, tools: WithTools) -> Any:
    caller = identify(tools, request.headers)
    if caller is None:
        return unknown()
    found = tools.errands.look(caller[0], task)
    if found is None:
        raise HTTPException(404, "No such task")
    return found


@router.post("/summarize", dependencies=[Depends(counted)])
def summarize(article: Article, tools: WithTools) -> dict[str, Any]:
    found = tools.provider.complete(article.text, 0.2, f"Write a {article.length} summary.")
    return {"summary": found.text, "tokens_used": found.tokens, "degraded": found.degraded}


@router.post("/batch-process", dependencies=[Depends(counted)])
def batch(questions: Questions, request: Request, tools: WithTools) -> dict[str, Any]:
    if len(questions.items) > tools.environment.BUCKET_CAPACITY:
        raise HTTPException(422, "more items than tokens")
    take(tools, request.state.caller[0], len(questions.items))

    def one(item: str) -> dict[str, Any]:
        try:
            return {"item": item, "response": tools.provider.complete(item.strip())[0], "error": None}
        except (ProviderFailedError, ProviderRefusedError):
            return {"item": item, "response": None, "error": "no answer"}

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        return {"results": list(pool.map(one, questions.items))}


@router.post("/chat/stream", dependencies=[Depends(counted)])
async def stream(question: Question, request: Request, tools: WithTools) -> Response:
    pieces = tools.provider.stream(question.message, question.temperature)
    waiting = asyncio.ensure_future(anext(pieces))
    leaving = asyncio.ensure_future(request.receive())  # the body has been read; what comes is the client's end
    await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if leaving.done():
        waiting.cancel()
    leaving.cancel()
    try:
        first = await waiting
    except (ProviderFailedError, asyncio.CancelledError):
        raise HTTPException(503, "The model does not answer", {"Retry-After": "1"}) from None

    async def events() -> AsyncIterator[str]:
        try:
            yield told(first)
            while True:
                following = asyncio.ensure_future(anext(pieces))
                ending = asyncio.ensure_future(tools.ending.wait())
                try:
                    await asyncio.wait({following, ending}, return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        raise ProviderFailedError
                    yield told(following.result())
                finally:
                    following.cancel()
                    ending.cancel()
        except StopAsyncIteration:
            return
        except (ProviderFailedError, ProviderRefusedError):
            yield "event: error\ndata: {}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def told(piece: str | int) -> str:
    if isinstance(piece, int):
        return f"event: done\ndata: {json.dumps({'tokens_used': piece})}\n\n"
    return f"event: token\ndata: {json.dumps({'text': piece})}\n\n"


@router.post("/expensive-operation")
def expensive(request: Request, tools: WithTools, tokens_needed: Annotated[int, Query(ge=1)]) -> dict[str, float]:
    if tokens_needed > tools.environment.BUCKET_CAPACITY:
        raise HTTPException(422, "more than the bucket holds")
    return {"remaining": take(tools, request.state.caller[0], tokens_needed)}


@router.post("/login")
def login(
    request: Request, tools: WithTools, username: Annotated[str, Form()], password: Annotated[str, Form()]
) -> JSONResponse:
    name = hashlib.sha256(username.encode("utf-8", "replace")).hexdigest()
    who = f"{request.client.host if request.client else '-'}:{name}"
    shut = tools.ledger.failure(who, add=False)
    if not shut:
        found = tools.people.find(username)
        right = fits(password, found[0] if found else NOBODY) and found is not None
        if right:
            return JSONResponse(token_for(username, tools.environment), 200, {"Cache-Control": "no-store"})
        shut = tools.ledger.failure(who, add=True)
    if shut:
        return problem(429, "Later", {"Retry-After": str(int(shut) + 1)})
    return unknown()


def token_for(username: str, env: Environment) -> dict[str, Any]:
    now, ttl = time.time(), int(env.JWT_TTL_S)
    claims = {"sub": username, "iss": env.JWT_ISSUER, "aud": env.JWT_AUDIENCE, "iat": int(now), "exp": int(now) + ttl}
    token = jwt.encode(claims, env.JWT_SECRET, "HS256")
    return {"access_token": token, "token_type": "bearer", "expires_in": ttl}


@router.get("/protected")
def protected(request: Request, tools: WithTools) -> Response:
    username = user_of(tools, request.headers)
    if username is None or tools.people.find(username) is None:
        return unknown()
    return JSONResponse({"message": f"Hello {username}"})


@router.delete("/admin/users/{username}")
def remove(username: str, request: Request, tools: WithTools) -> Response:
    caller = identify(tools, request.headers)
    if caller is None:
        return unknown()
    if caller[1] != "admin":
        raise HTTPException(403, "Admins only")
    if not tools.people.remove(username):
        raise HTTPException(404, "Nobody of that name")
    return JSONResponse({"gone": username})


def end_in_time(ending: asyncio.Event) -> None:
    """Let SIGTERM end the process though threads wait for the model."""
    before = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def ended(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(loop.call_later, 4.5, ending.set)
        timer = threading.Timer(5.5, os._exit, [143])
        timer.daemon = True
        timer.start()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, ended)


def explain(app: FastAPI) -> None:
    """Make problems of all errors."""

    @app.exception_handler(ProviderFailedError)
    @app.exception_handler(RedisLostError)
    @app.exception_handler(SQLAlchemyError)
    async def away(_: Request, error: Exception) -> JSONResponse:
        logging.getLogger("threads").warning("away: %s", type(error).__name__)
        return problem(503, headers={"Retry-After": "1"})

    @app.exception_handler(ProviderRefusedError)
    async def refused(_: Request, __: Exception) -> JSONResponse:
        return problem(502)

    @app.exception_handler(AnyHTTPException)
    async def http(_: Request, error: AnyHTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, [{"loc": e["loc"], "type": e["type"]} for e in error.errors()])


def create_app() -> FastAPI:
    tools = Tools()
    configure(tools.environment.LOG_LEVEL)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        end_in_time(tools.ending)
        anyio.to_thread.current_default_thread_limiter().total_tokens = 150
        await anyio.to_thread.run_sync(tools.people.begin)
        yield

    app = FastAPI(title="Threads", version="0.1.0", lifespan=lifespan)
    app.state.tools = tools
    app.include_router(router)

    @app.middleware("http")
    async def authenticate(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        least = NEEDED.get(request.url.path)
        if least:
            try:
                caller = await anyio.to_thread.run_sync(identify, tools, request.headers)
            except SQLAlchemyError:
                return problem(503, headers={"Retry-After": "1"})
            if caller is None:
                return unknown()
            if RANKS[caller[1]] < RANKS[least]:
                return problem(403)
            request.state.caller = caller
        return await go_on(request)

    explain(app)
    app.add_middleware(ShortBodies, limit=tools.environment.MAX_BODY_BYTES)
    app.add_middleware(Sight)
    return app
