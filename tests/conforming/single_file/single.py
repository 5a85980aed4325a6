"""Everything in one file, on Starlette, with the standard library for whatever is secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import signal
import sqlite3
import sys
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import aiohttp
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

# -- settings ---------------------------------------------------------------------------------------------------------

ROLES = ["guest", "user", "admin"]


def give_up(name: str) -> NoReturn:
    sys.stderr.write(f"{name}: absent or wrong\n")
    raise SystemExit(78)


def setting(name: str, fits: Callable[[str], bool], default: str | None = None) -> str:
    value = os.environ.get(name, default)
    try:
        good = bool(value) and fits(value or "")
    except (ValueError, TypeError, KeyError, AttributeError):
        good = False
    if not good:
        give_up(name)
    return value or ""


def whole(least: int) -> Callable[[str], bool]:
    return lambda text: int(text) >= least


def above(least: float) -> Callable[[str], bool]:
    return lambda text: least < float(text) < math.inf


def seconds(text: str) -> bool:
    return 1 <= float(text) < math.inf


def good_keys(text: str) -> bool:
    table = json.loads(text)
    return all(
        re.fullmatch("[0-9a-f]{64}", digest) and entry["client"] and entry["role"] in ROLES
        for digest, entry in table.items()
    )


def good_users(text: str) -> bool:
    people = json.loads(text)
    return len(people) <= 10 and all(
        re.fullmatch("[a-z0-9_-]{1,32}", one["username"]) and one["password"] and one["role"] in ROLES for one in people
    )


def something(text: str) -> bool:
    return bool(text.strip())


def good_redis(text: str) -> bool:
    return text.startswith(("redis://", "rediss://", "unix://"))


BASE_URL = setting("OPENAI_BASE_URL", lambda text: bool(re.match(r"https?://.", text))).rstrip("/")
PROVIDER_KEY = setting("OPENAI_API_KEY", something)
MODEL = setting("LLM_MODEL", something, "lab-large")
PATIENCE = float(setting("LLM_TIMEOUT_S", above(0), "5"))
LONGEST_BODY = int(setting("MAX_BODY_BYTES", whole(1024), "262144"))
API_KEYS = json.loads(setting("API_KEYS", good_keys, "{}"))
SEED_USERS = json.loads(setting("SEED_USERS", good_users, "[]"))
DATABASE = setting("DATABASE_URL", lambda text: text.startswith("sqlite:///"), "sqlite:///./service.db")[10:]
SECRET = setting("JWT_SECRET", lambda text: len(text.encode()) >= 32).encode()
ISSUER = setting("JWT_ISSUER", something)
AUDIENCE = setting("JWT_AUDIENCE", something)
LIFETIME = int(float(setting("JWT_TTL_S", seconds, "1800")))
MAX_FAILURES = int(setting("LOGIN_MAX_FAILURES", whole(1), "5"))
FAILURE_WINDOW = float(setting("LOGIN_WINDOW_S", seconds, "60"))
LIMIT = int(setting("RATE_LIMIT_REQUESTS", whole(1), "10"))
WINDOW = float(setting("RATE_LIMIT_WINDOW_S", seconds, "60"))
CAPACITY = int(setting("BUCKET_CAPACITY", whole(1), "100"))
REFILL = float(setting("BUCKET_REFILL_PER_S", above(0), "10"))
REDIS_URL = setting("REDIS_URL", good_redis, "redis://127.0.0.1:6379/0")

# -- users ------------------------------------------------------------------------------------------------------------


def derived(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=2**13, r=8, p=2, dklen=48)


def database() -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(DATABASE, timeout=5, isolation_level=None))


def create_users() -> None:
    rows = []
    for one in SEED_USERS:
        salt = secrets.token_bytes(16)
        rows.append((one["username"], salt, derived(one["password"], salt), ROLES.index(one["role"])))
    with database() as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            connection.execute("CREATE TABLE member (username PRIMARY KEY, salt BLOB, hash BLOB, rank INTEGER)")
            connection.executemany("INSERT INTO member VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "already exists" not in str(error):
                raise


async def created() -> bool:
    try:
        await asyncio.to_thread(create_users)
    except sqlite3.Error:
        return False
    return True


async def keep_creating() -> None:
    while True:
        await asyncio.sleep(0.25)
        if await created():
            return


def query(sql: str, *values: object) -> tuple[Any, ...] | None:
    with database() as connection:
        row: tuple[Any, ...] | None = connection.execute(sql, values).fetchone()
        return row


async def member(username: str) -> tuple[Any, ...] | None:
    return await asyncio.to_thread(query, "SELECT salt, hash, rank FROM member WHERE username = ?", username)


# -- tokens -----------------------------------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError(text)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signature(content: str) -> bytes:
    return hmac.new(SECRET, content.encode(), "sha256").digest()


def issue(username: str) -> str:
    now = int(time.time())
    claims = {"sub": username, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME}
    content = b64(b'{"alg":"HS256","typ":"JWT"}') + "." + b64(json.dumps(claims).encode())
    return f"{content}.{b64(signature(content))}"


def read_token(token: str) -> str | None:
    """Whom a token names; None when anything is wrong with it."""
    try:
        content, _, signed = token.rpartition(".")
        header, payload = (json.loads(unb64(part)) for part in content.split("."))
        good = header["alg"] == "HS256" and hmac.compare_digest(unb64(signed), signature(content))
        good = good and payload["iss"] == ISSUER and AUDIENCE in (payload["aud"], *payload["aud"])
        now = time.time()
        good = good and payload["iat"] <= now + 30 and payload["exp"] > now - 30
        return payload["sub"] if good and isinstance(payload["sub"], str) else None
    except (ValueError, LookupError, TypeError):
        return None


# -- counts -----------------------------------------------------------------------------------------------------------

ARRIVAL = """
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local step, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local early = due - (burst - 1) * step - now
if early > 0 then return math.ceil(early) end
redis.call('SET', KEYS[1], tostring(due + step), 'PX', math.ceil(due + step - now) + 1)
return 0
"""
"""GCRA: KEYS the theoretical arrival time of the next request, ARGV the step between requests and the burst."""

redis = Redis(connection_pool=BlockingConnectionPool.from_url(REDIS_URL, max_connections=30, timeout=20))
arrival = redis.register_script(ARRIVAL)


async def admit(caller: str) -> None:
    wait = await arrival(keys=[f"tat:{caller}"], args=[1000 * WINDOW / LIMIT, LIMIT])
    if wait:
        raise HTTPException(429, "rate", {"Retry-After": str(math.ceil(wait / 1000))})


async def take(caller: str, tokens: int) -> float:
    """Take tokens from the bucket by an optimistic transaction, again when somebody was quicker."""
    key = f"level:{caller}"
    async with redis.pipeline() as pipe:
        while True:
            try:
                return await try_to_take(pipe, key, tokens)
            except WatchError:
                await asyncio.sleep(0.001 + 0.004 * secrets.randbelow(1000) / 1000)


async def try_to_take(pipe: Pipeline, key: str, tokens: int) -> float:
    await pipe.watch(key)
    (stamp, micro), kept = await redis.time(), await pipe.get(key)
    now = stamp + micro / 1_000_000
    level, at = (float(part) for part in kept.split()) if kept else (float(CAPACITY), now)
    level = min(CAPACITY, level + max(0.0, now - at) * REFILL)
    if level < tokens:
        await pipe.reset()  # type: ignore[no-untyped-call]
        raise HTTPException(429, "tokens", {"Retry-After": str(math.ceil((tokens - level) / REFILL))})
    pipe.multi()  # type: ignore[no-untyped-call]
    pipe.set(key, f"{level - tokens!r} {max(now, at)!r}", px=int(CAPACITY / REFILL * 1000) + 5000)
    await pipe.execute()
    return level - tokens


# -- requests ---------------------------------------------------------------------------------------------------------


async def identity(request: Request) -> tuple[str, int]:
    """The caller's id and rank."""
    if "x-api-key" in request.headers:
        entry = API_KEYS.get(hashlib.sha256(request.headers["x-api-key"].encode("latin-1")).hexdigest())
        if entry:
            return "c " + entry["client"], ROLES.index(entry["role"])
    else:
        username, rank = await token_user(request)
        return "u " + username, rank
    raise HTTPException(401, "credentials", {"WWW-Authenticate": "Bearer"})


async def token_user(request: Request) -> tuple[str, int]:
    match = re.fullmatch(r"bearer +(\S+)", request.headers.get("authorization", ""), re.IGNORECASE)
    username = read_token(match[1]) if match else None
    found = await member(username) if username else None
    if username is None or found is None:
        raise HTTPException(401, "credentials", {"WWW-Authenticate": "Bearer"})
    return username, found[2]


async def body_of(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise HTTPException(413, "body")
    return bytes(body)


def no_constant(name: str) -> NoReturn:
    raise ValueError(name)


async def fields_of(request: Request, *known: str) -> dict[str, Any]:
    try:
        fields = json.loads(await body_of(request), parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise HTTPException(400, "JSON") from None
    if not isinstance(fields, dict):
        raise HTTPException(422, "an object is wanted")
    for name in fields:
        demand(name in known, re.sub(r"[^\w.-]", "", name)[:40])
    return fields


def demand(good: object, name: str) -> None:
    if not good:
        raise HTTPException(422, f"wrong: {name}")


def is_text(value: object, least: int, most: int) -> bool:
    if not isinstance(value, str) or re.search("[\ud800-\udfff]", value):
        return False
    return bool(value.strip()) and least <= len(value) <= most


def is_message(value: object) -> bool:
    return isinstance(value, str) and is_text(value.strip(), 1, 4000)


async def guarded(request: Request, rank: int = 1) -> str:
    caller, found = await identity(request)
    if found < rank:
        raise HTTPException(403, "role")
    return caller


# -- the model --------------------------------------------------------------------------------------------------------


def asked(text: str, temperature: float, hint: str = "") -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    if hint:
        messages.insert(0, {"role": "system", "content": hint})
    return {"model": MODEL, "messages": messages, "temperature": temperature}


async def complete(request: Request, text: str, temperature: float = 0.7, hint: str = "") -> tuple[str, int]:
    http: aiohttp.ClientSession = request.app.state.http
    try:
        async with asyncio.timeout(PATIENCE):
            async with http.post(BASE_URL + "/chat/completions", json=asked(text, temperature, hint)) as answer:
                answer.raise_for_status()
                said = await answer.json()
        content, tokens = said["choices"][0]["message"]["content"], said["usage"]["total_tokens"]
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
        raise HTTPException(503, "model", {"Retry-After": "1"}) from None
    if not content:
        raise HTTPException(503, "model", {"Retry-After": "1"})
    return content, tokens


async def root(_: Request) -> Response:
    return JSONResponse({"message": "single"})


async def health(_: Request) -> Response:
    return JSONResponse({"status": "healthy"})


async def chat_fields(request: Request) -> tuple[str, float]:
    fields = await fields_of(request, "message", "temperature")
    message, temperature = fields.get("message"), fields.get("temperature", 0.7)
    demand(is_message(message), "message")
    demand(type(temperature) in {int, float} and 0 <= temperature <= 2, "temperature")
    return str(message).strip(), temperature


async def chat(request: Request) -> Response:
    caller = await guarded(request)
    message, temperature = await chat_fields(request)
    await admit(caller)
    content, tokens = await complete(request, message, temperature)
    return JSONResponse({"response": content, "tokens_used": tokens, "model": MODEL})


async def summarize(request: Request) -> Response:
    caller = await guarded(request)
    fields = await fields_of(request, "text", "length")
    demand(is_text(fields.get("text"), 10, 10000), "text")
    length = fields.get("length", "medium")
    demand(length in ("short", "medium", "long"), "length")
    await admit(caller)
    content, tokens = await complete(request, fields["text"], hint=f"Sum up the text. Length: {length}.")
    return JSONResponse({"summary": content, "tokens_used": tokens})


async def batch(request: Request) -> Response:
    caller = await guarded(request)
    items: Any = (await fields_of(request, "items")).get("items")
    demand(isinstance(items, list) and 1 <= len(items) <= 20 and all(is_message(item) for item in items), "items")
    demand(len(items) <= CAPACITY, "items")
    await admit(caller)
    await take(caller, len(items))
    results: list[dict[str, Any]] = [{} for _ in items]
    waiting = list(enumerate(items))

    async def work() -> None:
        while waiting:
            place, item = waiting.pop(0)
            try:
                content, _ = await complete(request, item.strip())
                results[place] = {"item": item, "response": content, "error": None}
            except HTTPException:
                results[place] = {"item": item, "response": None, "error": "the model failed"}

    await asyncio.gather(*(work() for _ in range(8)))
    return JSONResponse({"results": results})


async def chat_stream(request: Request) -> Response:
    caller = await guarded(request)
    message, temperature = await chat_fields(request)
    await admit(caller)
    return StreamingResponse(with_watch(request, spoken(request, message, temperature)), media_type="text/event-stream")


async def with_watch(request: Request, events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Pass on events until the client goes away."""
    left: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    following = left
    try:
        while True:
            following = asyncio.ensure_future(anext(events))
            await asyncio.wait({left, following}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            yield following.result()
    except StopAsyncIteration:
        return
    finally:
        left.cancel()
        following.cancel()


async def spoken(request: Request, message: str, temperature: float) -> AsyncIterator[str]:
    question = asked(message, temperature) | {"stream": True, "stream_options": {"include_usage": True}}
    tokens, ended = None, False
    http: aiohttp.ClientSession = request.app.state.http
    limit = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
    try:
        async with http.post(BASE_URL + "/chat/completions", json=question, timeout=limit) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line[6:])
                tokens = chunk["usage"]["total_tokens"] if chunk.get("usage") else tokens
                for choice in chunk["choices"]:
                    ended = ended or bool(choice.get("finish_reason"))
                    if choice["delta"].get("content"):
                        yield event("token", {"text": choice["delta"]["content"]})
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
        ended = False
    yield event("done", {"tokens_used": tokens}) if ended and tokens else event("error", {"message": "broken off"})


def event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n"


async def expensive(request: Request) -> Response:
    caller = await guarded(request)
    raw = request.query_params.get("tokens_needed", "")
    demand(re.fullmatch(r"[0-9]{1,9}", raw) and 1 <= int(raw) <= CAPACITY, "tokens_needed")
    return JSONResponse({"remaining": math.floor(await take(caller, int(raw)))})


# -- logins -----------------------------------------------------------------------------------------------------------


async def login(request: Request) -> Response:
    form = dict(urllib.parse.parse_qsl((await body_of(request)).decode("utf-8", "replace")))
    username, password = form.get("username"), form.get("password")
    if not username or not password:
        raise HTTPException(400, "form")
    key = "fail:" + hashlib.blake2s(f"{username} {request.client and request.client.host}".encode()).hexdigest()
    await refuse_after(key, int(await redis.get(key) or 0), MAX_FAILURES)
    found = await member(username)
    salt, kept, _ = found or (b"nobody", b"", 0)
    if not hmac.compare_digest(await asyncio.to_thread(derived, password, salt), kept):
        if await redis.set(key, 1, px=math.ceil(FAILURE_WINDOW * 1000), nx=True):
            count = 1
        else:
            count = await redis.incr(key)
            if count == 1:  # it ended between the two
                await redis.pexpire(key, math.ceil(FAILURE_WINDOW * 1000))
        await refuse_after(key, count, MAX_FAILURES + 1)
        raise HTTPException(401, "credentials", {"WWW-Authenticate": "Form"})
    answer = {"access_token": issue(username), "token_type": "bearer", "expires_in": LIFETIME}
    return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


async def refuse_after(key: str, count: int, most: int) -> None:
    if count >= most:
        left = max(1, math.ceil(await redis.pttl(key) / 1000))
        raise HTTPException(429, "failures", {"Retry-After": str(left)})


async def protected(request: Request) -> Response:
    username, _ = await token_user(request)
    return JSONResponse({"message": f"Hello {username}"})


async def delete(request: Request) -> Response:
    await guarded(request, rank=2)
    gone = "DELETE FROM member WHERE username = ? RETURNING 1"
    if not await asyncio.to_thread(query, gone, request.path_params["username"]):
        raise HTTPException(404, "user")
    return JSONResponse({"deleted": 1})


# -- the application --------------------------------------------------------------------------------------------------


async def openapi(_: Request) -> Response:
    paths: dict[str, dict[str, str]] = {route.path: {} for route in routes}
    return JSONResponse({"openapi": "3.1.0", "info": {"title": "Single", "version": "1"}, "paths": paths})


async def docs(_: Request) -> Response:
    return HTMLResponse("<!doctype html><title>Single</title><a href='openapi.json'>The API</a>")


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    default = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: Any) -> None:
        watchdog = threading.Timer(7, os.kill, (os.getpid(), signal.SIGTERM))
        watchdog.daemon = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        watchdog.start()
        if callable(default):
            default(number, frame)

    signal.signal(signal.SIGTERM, end)
    creating = None if await created() else asyncio.create_task(keep_creating())
    authorization = {"Authorization": f"Bearer {PROVIDER_KEY}"}
    async with aiohttp.ClientSession(headers=authorization, connector=aiohttp.TCPConnector(limit=0)) as http:
        app.state.http = http
        yield
    if creating:
        creating.cancel()
    await redis.aclose()


Endpoint = Callable[[Request], Awaitable[Response]]
routes: list[Route] = []


def add(path: str, endpoint: Endpoint, method: str = "POST") -> None:
    routes.append(Route(path, endpoint, methods=[method]))


add("/", root, "GET")
add("/health", health, "GET")
add("/docs", docs, "GET")
add("/openapi.json", openapi, "GET")
add("/chat", chat)
add("/chat/stream", chat_stream)
add("/summarize", summarize)
add("/batch-process", batch)
add("/expensive-operation", expensive)
add("/login", login)
add("/protected", protected, "GET")
add("/admin/users/{username}", delete, "DELETE")
app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: refused})
