"""The routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import jwt
import openai
from fastapi import FastAPI, Form, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from redis.asyncio import BlockingConnectionPool, Redis
from starlette.types import Receive, Scope, Send

from .config import load
from .counting import Counting
from .middleware import Gate, until_gone
from .users import Users, password_fits

CONFIG = load()
USERS = Users(CONFIG.database, CONFIG.users)
TOOLS: dict[str, Any] = {}
BLANKS = " \t\r\n"


def stop_for_good() -> None:
    """After SIGTERM what has not ended in time is cut."""
    ordinary = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        timer = threading.Timer(6, os._exit, (0,))
        timer.daemon = True
        timer.start()
        if callable(ordinary):
            ordinary(number, frame)

    signal.signal(signal.SIGTERM, stop)


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    stop_for_good()
    pool = BlockingConnectionPool.from_url(CONFIG.redis, max_connections=40)
    client = openai.AsyncOpenAI(base_url=CONFIG.base_url, api_key=CONFIG.provider_key, max_retries=0)
    creating = await USERS.begin()
    async with Redis(connection_pool=pool) as redis, client:
        TOOLS.update(counting=Counting(redis, CONFIG), client=client)
        yield
    creating.cancel()


app = FastAPI(title="Gate", version="0.1.0", lifespan=lifespan)
app.add_middleware(Gate, config=CONFIG, users=USERS, counting=lambda: TOOLS["counting"])


@app.exception_handler(RequestValidationError)
async def unprocessable(_: Request, error: RequestValidationError) -> JSONResponse:
    wrong = [".".join(str(part) for part in each["loc"]) for each in error.errors()]
    return JSONResponse({"error": "not valid", "fields": wrong}, 422)


def trimmed(message: str) -> str:
    text = message.strip(BLANKS)
    text.encode()  # lone surrogates are no text
    if not text.strip() or len(text) > 4000:
        raise ValueError("1 to 4000 characters")
    return text


def checked(message: str) -> str:
    trimmed(message)
    return message


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Chat(Body):
    message: Annotated[str, AfterValidator(trimmed)]
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.7


def not_blank(text: str) -> str:
    text.encode()
    if not text.strip():
        raise ValueError("blank")
    return text


class Text(Body):
    text: Annotated[str, Field(min_length=10, max_length=10_000), AfterValidator(not_blank)]
    length: Literal["short", "medium", "long"] = "medium"


class Batch(Body):
    items: Annotated[list[Annotated[str, AfterValidator(checked)]], Field(min_length=1, max_length=20)]


async def complete(text: str, temperature: float = 0.7, system: str = "Be helpful.") -> tuple[str, int]:
    messages: Any = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    try:
        async with asyncio.timeout(CONFIG.timeout):
            answer = await TOOLS["client"].chat.completions.create(
                model=CONFIG.model, messages=messages, temperature=temperature
            )
        content, usage = answer.choices[0].message.content, answer.usage
    except (openai.OpenAIError, TimeoutError, ValueError, LookupError, AttributeError, TypeError):
        raise HTTPException(503, "the model does not answer", {"Retry-After": "2"}) from None
    if not content or usage is None:
        raise HTTPException(503, "the model answers nonsense", {"Retry-After": "2"})
    return content, usage.total_tokens


@app.get("/")
async def root() -> dict[str, str]:
    return {"message": "gate"}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/chat")
async def chat(body: Chat) -> dict[str, Any]:
    content, tokens = await complete(body.message, body.temperature)
    return {"response": content, "tokens_used": tokens, "model": CONFIG.model}


@app.post("/summarize")
async def summarize(body: Text) -> dict[str, Any]:
    content, tokens = await complete(body.text, system=f"Summarize; the summary shall be {body.length}.")
    return {"summary": content, "tokens_used": tokens}


class Streamed(Response):
    """Server-sent events, written as the model speaks."""

    def __init__(self, body: Chat) -> None:
        super().__init__()
        self.chat = body

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await until_gone(receive, self.speak(send))

    async def speak(self, send: Send) -> None:
        kind = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        try:
            async for name, data in self.events():
                said = f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
                await send({"type": "http.response.body", "body": said, "more_body": True})
        except (openai.OpenAIError, TimeoutError, ValueError, LookupError, OSError):
            said = b'event: error\ndata: {"error": "the model broke off"}\n\n'
            await send({"type": "http.response.body", "body": said, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        messages: Any = [{"role": "user", "content": self.chat.message}]
        async with asyncio.timeout(CONFIG.timeout) as patience:
            chunks = await TOOLS["client"].chat.completions.create(
                model=CONFIG.model,
                messages=messages,
                temperature=self.chat.temperature,
                stream=True,
                stream_options={"include_usage": True},
            )
            tokens, finished = None, False
            async with chunks:
                async for chunk in chunks:
                    patience.reschedule(asyncio.get_running_loop().time() + CONFIG.timeout)
                    tokens = chunk.usage.total_tokens if chunk.usage else tokens
                    for choice in chunk.choices:
                        finished = finished or choice.finish_reason is not None
                        if choice.delta.content:
                            yield "token", {"text": choice.delta.content}
        if not finished or tokens is None:
            raise ValueError("cut")
        yield "done", {"tokens_used": tokens}


@app.post("/chat/stream")
async def stream(body: Chat) -> Response:
    return Streamed(body)


@app.post("/batch-process")
async def batch(body: Batch, request: Request) -> dict[str, Any]:
    if len(body.items) > CONFIG.capacity:
        raise HTTPException(422, "more items than the bucket holds")
    await take(request.state.caller, len(body.items))
    places = asyncio.Semaphore(6)

    async def one(item: str) -> dict[str, Any]:
        async with places:
            try:
                content, _ = await complete(item.strip(BLANKS))
            except HTTPException:
                return {"item": item, "response": None, "error": "failed"}
        return {"item": item, "response": content, "error": None}

    return {"results": await asyncio.gather(*(one(item) for item in body.items))}


async def take(caller: str, tokens: int) -> float:
    wait, level = await TOOLS["counting"].take(caller, tokens)
    if wait:
        raise HTTPException(429, "not enough tokens", {"Retry-After": str(math.ceil(wait + 0.001))})
    return float(level)


@app.post("/expensive-operation")
async def expensive(request: Request, tokens_needed: Annotated[int, Query(ge=1, le=CONFIG.capacity)]) -> dict[str, Any]:
    return {"remaining": await take(request.state.caller, tokens_needed)}


@app.post("/login")
async def login(
    request: Request, response: Response, username: Annotated[str, Form()], password: Annotated[str, Form()]
) -> dict[str, Any]:
    counting, who = TOOLS["counting"], f"{request.client.host if request.client else ''}/{username.encode().hex()}"
    count, left = await counting.failures(who)
    found = None
    if count < CONFIG.login_failures:
        found = await USERS.find(username)
        if not await asyncio.to_thread(password_fits, found[0] if found else None, password):
            count, left = await counting.fail(who)
            if count <= CONFIG.login_failures:
                raise HTTPException(401, "wrong")
    if count >= CONFIG.login_failures:
        raise HTTPException(429, "too many failures", {"Retry-After": str(math.ceil(left))})
    response.headers["Cache-Control"] = "no-store"
    now = int(time.time())
    claims = {"sub": username, "iss": CONFIG.issuer, "aud": CONFIG.audience, "iat": now, "exp": now + CONFIG.ttl}
    token = jwt.encode(claims, CONFIG.secret, algorithm="HS256")
    return {"access_token": token, "token_type": "bearer", "expires_in": CONFIG.ttl}


@app.get("/protected")
async def protected(request: Request) -> dict[str, str]:
    return {"message": f"Hello {request.state.caller.removeprefix('user/')}"}


@app.delete("/admin/users/{username}")
async def delete(username: str) -> dict[str, bool]:
    if not await USERS.deactivate(username):
        raise HTTPException(404, "no such user")
    return {"deleted": True}
