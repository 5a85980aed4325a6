"""Everything in one file, on Starlette, with the standard library for whatever others install packages for."""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import hashlib
import hmac
import json
import logging
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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NoReturn, TypeVar, cast

import aiohttp
import psycopg
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError, WatchError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")

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


def good_address(text: str) -> bool:
    return urllib.parse.urlsplit(text).port != 0  # a ValueError where it is no number


def good_database(text: str) -> bool:
    return (
        good_address(text)
        and text.startswith(("sqlite:///", "postgresql://"))
        and bool(text.partition("://")[2].strip("/"))
    )


def good_redis(text: str) -> bool:
    return good_address(text) and text.startswith(("redis://", "rediss://", "unix://"))


BASE_URL = setting("OPENAI_BASE_URL", lambda text: good_address(text) and bool(re.match(r"https?://.", text))).rstrip(
    "/"
)
PROVIDER_KEY = setting("OPENAI_API_KEY", something)
MODEL = setting("LLM_MODEL", something, "lab-large")
FALLBACK = setting("LLM_FALLBACK_MODEL", something, "lab-small")
EMBEDDER = setting("LLM_EMBED_MODEL", something, "lab-embed")
PATIENCE = float(setting("LLM_TIMEOUT_S", above(0), "5"))
LONGEST_BODY = int(setting("MAX_BODY_BYTES", whole(1024), "262144"))
API_KEYS = json.loads(setting("API_KEYS", good_keys, "{}"))
SEED_USERS = json.loads(setting("SEED_USERS", good_users, "[]"))
DATABASE_URL = setting("DATABASE_URL", good_database, "sqlite:///./service.db")
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
FRESH = float(setting("CACHE_TTL_S", seconds, "3600"))
STALE = float(setting("CACHE_STALE_TTL_S", seconds, "86400"))
ALIKE = float(setting("SEMANTIC_CACHE_THRESHOLD", lambda text: 0 <= float(text) <= 1, "0"))
BREAKER_FAILURES = int(setting("BREAKER_FAILURES", whole(1), "5"))
COOLDOWN = float(setting("BREAKER_COOLDOWN_S", seconds, "10"))
QUEUE_MAX = int(setting("QUEUE_MAX", whole(1), "100"))
POOL = int(setting("DB_POOL_SIZE", whole(1), "5"))
OVERFLOW = int(setting("DB_MAX_OVERFLOW", whole(0), "5"))
LEVEL = setting("LOG_LEVEL", lambda text: text.upper() in logging.getLevelNamesMapping(), "INFO").upper()

# -- what can be seen from outside ------------------------------------------------------------------------------------

request_id: ContextVar[str] = ContextVar("request_id", default="")
log = logging.getLogger("single")


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line | getattr(record, "fields", {}))


def set_logging_up() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=LEVEL, force=True)
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it quotes exceptions


set_logging_up()

SAMPLES: collections.Counter[str] = collections.Counter()
"""Each sample as it stands in the exposition, and its value."""
FAMILIES = {
    "http_requests_total": "counter",
    "http_request_duration_seconds": "histogram",
    "llm_tokens_total": "counter",
    "cache_requests_total": "counter",
    "rate_limited_total": "counter",
}
STEPS = ("0.01", "0.05", "0.1", "0.5", "1", "5", "30", "+Inf")
SAMPLES["rate_limited_total"] = 0
for _name in (MODEL, FALLBACK):
    SAMPLES[f"llm_tokens_total{{model={json.dumps(_name)}}}"] = 0
for _name in ("miss", "hit", "semantic", "stale"):
    SAMPLES[f'cache_requests_total{{result="{_name}"}}'] = 0


def observe(method: str, handler: str, status: int, duration: float, cache: str) -> None:
    SAMPLES[f'http_requests_total{{method="{method}",handler="{handler}",status="{status}"}}'] += 1
    for step in STEPS:
        SAMPLES[f'http_request_duration_seconds_bucket{{handler="{handler}",le="{step}"}}'] += duration <= float(step)
    SAMPLES[f'http_request_duration_seconds_count{{handler="{handler}"}}'] += 1
    SAMPLES[f'http_request_duration_seconds_sum{{handler="{handler}"}}'] += duration  # type: ignore[assignment]
    if handler == "/chat" and status == 200:
        SAMPLES[f'cache_requests_total{{result="{cache}"}}'] += 1
    if status == 429 and handler in PROVIDER_ROUTES:
        SAMPLES["rate_limited_total"] += 1


async def metrics(_: Request) -> Response:
    lines = []
    for family, kind in FAMILIES.items():
        lines.append(f"# TYPE {family} {kind}")
        lines += [f"{sample} {value}" for sample, value in SAMPLES.items() if sample.startswith(family)]
    return Response("\n".join([*lines, ""]), media_type="text/plain; version=0.0.4")


class Watch:
    """Around the application: an id, a record and numbers for each request."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        name = given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else secrets.token_urlsafe(15)
        request_id.set(name)
        began, status, cache = time.perf_counter(), 0, ""

        async def sent(message: Message) -> None:
            nonlocal status, cache
            if message["type"] == "http.response.start":
                status, cache = message["status"], dict(message["headers"]).get(b"x-cache", b"").decode().lower()
                took = f"{time.perf_counter() - began:.6f}".encode()
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode()), (b"x-process-time", took)]
            elif not message.get("more_body"):
                record(scope, status, time.perf_counter() - began, cache)
            await send(message)

        try:
            await self.inner(scope, receive, sent)
        except Exception:
            log.exception("failed")
            if not status:
                await problem(500, "unexpected")(scope, receive, sent)


def record(scope: Scope, status: int, duration: float, cache: str) -> None:
    method = scope["method"] if scope["method"] in {"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"} else "OTHER"
    handler = TEMPLATES.get(scope.get("endpoint"), "none")
    observe(method, handler, status, duration, cache)
    fields = {"method": method, "route": handler, "status": status, "duration_ms": 1000 * duration}
    log.info("request", extra={"fields": fields})


def problem(status: int, detail: str, headers: Any = None) -> Response:
    title = {413: "Too long", 422: "Not valid", 429: "Too many", 503: "Unavailable"}.get(status, "Error")
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "request_id": request_id.get()}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


# -- users ------------------------------------------------------------------------------------------------------------

TABLE = "CREATE TABLE member (username TEXT PRIMARY KEY, salt TEXT, hash TEXT, standing INTEGER)"
DATABASE_ERRORS = (sqlite3.Error, psycopg.Error, TimeoutError)


def derived(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt.encode(), n=2**13, r=8, p=2, dklen=48).hex()


def seed_rows() -> list[tuple[str, str, str, int]]:
    salts = [secrets.token_hex(16) for _ in SEED_USERS]
    return [
        (one["username"], salt, derived(one["password"], salt), ROLES.index(one["role"]))
        for one, salt in zip(SEED_USERS, salts, strict=True)
    ]


def sqlite() -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(DATABASE_URL[10:], timeout=5, isolation_level=None))


def create_in_sqlite() -> None:
    rows = seed_rows()
    with sqlite() as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            connection.execute(TABLE)
            connection.executemany("INSERT INTO member VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "already exists" not in str(error):
                raise


async def create_in_postgres() -> None:
    rows = await asyncio.to_thread(seed_rows)
    async with await psycopg.AsyncConnection.connect(DATABASE_URL, connect_timeout=3) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(4711)")
        known = await (await connection.execute("SELECT to_regclass('member')")).fetchone()
        if known == (None,):
            await connection.execute(TABLE)
            await connection.cursor().executemany("INSERT INTO member VALUES (%s, %s, %s, %s)", rows)


async def created() -> bool:
    try:
        if DATABASE_URL.startswith("sqlite"):
            await asyncio.to_thread(create_in_sqlite)
        else:
            await create_in_postgres()
    except DATABASE_ERRORS:
        return False
    return True


async def keep_creating() -> None:
    while True:
        await asyncio.sleep(0.25)
        if await created():
            return


def from_sqlite(sql: str, *values: object) -> tuple[Any, ...] | None:
    with sqlite() as connection:
        row: tuple[Any, ...] | None = connection.execute(sql, values).fetchone()
        return row


idle: list[psycopg.AsyncConnection[tuple[Any, ...]]] = []
places = asyncio.Semaphore(POOL + OVERFLOW)


async def from_postgres(sql: str, *values: object) -> tuple[Any, ...] | None:
    """Ask with a connection that is there; if the server has forgotten it, with the next, at last with a new one."""
    async with asyncio.timeout(4), places:
        while idle:
            with contextlib.suppress(psycopg.OperationalError):
                return await fetch(idle.pop(), sql, values)
        connection = await psycopg.AsyncConnection.connect(DATABASE_URL, autocommit=True, connect_timeout=3)
        return await fetch(connection, sql, values)


async def fetch(
    connection: psycopg.AsyncConnection[tuple[Any, ...]], sql: str, values: tuple[object, ...]
) -> tuple[Any, ...] | None:
    kept = False
    try:
        row = await (await connection.execute(sql.replace("?", "%s").encode(), values)).fetchone()
        kept = len(idle) < POOL
        return row
    finally:
        if kept:
            idle.append(connection)
        else:
            await connection.close()


async def query(sql: str, *values: object) -> tuple[Any, ...] | None:
    if DATABASE_URL.startswith("sqlite"):
        return await asyncio.to_thread(from_sqlite, sql, *values)
    return await from_postgres(sql, *values)


async def member(username: str) -> tuple[Any, ...] | None:
    return await query("SELECT salt, hash, standing FROM member WHERE username = ?", username)


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


# -- Redis, and what is done without it -------------------------------------------------------------------------------

redis = Redis(connection_pool=BlockingConnectionPool.from_url(REDIS_URL, max_connections=30, timeout=20))
outside = SimpleNamespace(http=None, away_until=0.0, closing=asyncio.Event())


class RedisAway(Exception):  # noqa: N818
    """Redis refuses or hangs, now or a moment ago."""


async def shared(operation: Callable[[], Awaitable[T]]) -> T:
    if time.monotonic() < outside.away_until:
        raise RedisAway
    try:
        async with asyncio.timeout(0.8):
            return await operation()
    except (RedisError, OSError, TimeoutError):
        outside.away_until = time.monotonic() + 1.5
        log.warning("redis is away")
        raise RedisAway from None


async def perhaps(operation: Callable[[], Awaitable[T]]) -> T | None:
    with contextlib.suppress(RedisAway):
        return await shared(operation)
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

arrival = redis.register_script(ARRIVAL)
arrivals: dict[str, float] = {}
levels: dict[str, tuple[float, float]] = {}
failures: dict[str, tuple[int, float]] = {}
"""What a process counts by itself while Redis is away."""
taking = asyncio.Lock()


async def admit(caller: str) -> None:
    step = 1000 * WINDOW / LIMIT
    try:
        wait = await shared(lambda: arrival(keys=[f"tat:{caller}"], args=[step, LIMIT]))
    except RedisAway:
        wait = admit_here(caller, step)
    if wait:
        raise HTTPException(429, "rate", {"Retry-After": str(math.ceil(wait / 1000))})


def admit_here(caller: str, step: float) -> float:
    now = 1000 * time.monotonic()
    due = max(now, arrivals.get(caller, 0))
    early = due - (LIMIT - 1) * step - now
    if early > 0:
        return early
    bounded(arrivals)[caller] = due + step
    return 0


def bounded(known: dict[str, Any]) -> dict[str, Any]:
    if len(known) > 20000:
        known.pop(next(iter(known)))
    return known


async def take(caller: str, tokens: int) -> float:
    """Take tokens from the bucket by an optimistic transaction, again when another replica was quicker."""
    async with taking:
        try:
            return await shared(lambda: take_in_redis(f"level:{caller}", tokens))
        except RedisAway:
            level, left = refilled(*levels.get(caller, (float(CAPACITY), 0.0)), time.monotonic(), tokens)
            bounded(levels)[caller] = (level, time.monotonic())
            return left


def refilled(level: float, at: float, now: float, tokens: int) -> tuple[float, float]:
    level = min(CAPACITY, level + max(0.0, now - at) * REFILL)
    if level < tokens:
        raise HTTPException(429, "tokens", {"Retry-After": str(math.ceil((tokens - level) / REFILL))})
    return level - tokens, level - tokens


async def take_in_redis(key: str, tokens: int) -> float:
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
    level, left = refilled(level, at, now, tokens)
    pipe.multi()  # type: ignore[no-untyped-call]
    pipe.set(key, f"{level!r} {max(now, at)!r}", px=int(CAPACITY / REFILL * 1000) + 5000)
    await pipe.execute()
    return left


async def failed_logins(key: str, *, add: bool) -> tuple[int, float]:
    """How many there were, perhaps after one more, and the seconds until they are forgotten."""
    try:
        return await shared(lambda: failed_in_redis(key, add=add))
    except RedisAway:
        count, until = failures.get(key, (0, 0.0))
        now = time.monotonic()
        if until < now:
            count, until = 0, now + FAILURE_WINDOW
        bounded(failures)[key] = (count + add, until)
        return count + add, until - now


async def failed_in_redis(key: str, *, add: bool) -> tuple[int, float]:
    if not add:
        count = int(await redis.get(key) or 0)
    elif await redis.set(key, 1, px=math.ceil(FAILURE_WINDOW * 1000), nx=True):
        count = 1
    else:
        count = await redis.incr(key)
        if count == 1:  # it ended between the two
            await redis.pexpire(key, math.ceil(FAILURE_WINDOW * 1000))
    return count, await redis.pttl(key) / 1000


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


def digest(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=24).hexdigest()


# -- the model --------------------------------------------------------------------------------------------------------


class Failed(Exception):  # noqa: N818
    """Another model, or this one later, may answer."""


class Refused(Exception):  # noqa: N818
    """The provider takes the request for wrong."""


@dataclass
class Breaker:
    failed: int = 0
    until: float = 0.0
    probing: bool = False


breakers: dict[str, Breaker] = collections.defaultdict(Breaker)


@contextlib.contextmanager
def calling(model: str) -> Iterator[None]:
    """Under the eyes of the model's breaker."""
    breaker = breakers[model]
    probe = breaker.failed >= BREAKER_FAILURES
    if probe and (breaker.probing or time.monotonic() < breaker.until):
        raise Failed
    breaker.probing = breaker.probing or probe
    try:
        yield
    except Failed:
        breaker.failed += 1
        breaker.until = time.monotonic() + COOLDOWN
        raise
    else:
        breaker.failed = 0
    finally:
        if probe:
            breaker.probing = False


@contextlib.asynccontextmanager
async def posted(path: str, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
    http: aiohttp.ClientSession = outside.http
    try:
        async with http.post(BASE_URL + path, json=body) as answer:
            if answer.status == 429 or answer.status >= 500:
                raise Failed
            if answer.status >= 400:
                raise Refused
            yield answer
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError, AttributeError):
        raise Failed from None


def asked(model: str, text: str, temperature: float, hint: str = "") -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    if hint:
        messages.insert(0, {"role": "system", "content": hint})
    return {"model": model, "messages": messages, "temperature": temperature}


@dataclass
class Answer:
    content: str
    tokens: int
    model: str
    source: str = "MISS"
    degraded: bool = False
    at: float = field(default_factory=time.time)


async def complete_once(model: str, body: dict[str, Any]) -> Answer:
    with calling(model):
        try:
            async with asyncio.timeout(PATIENCE), posted("/chat/completions", body) as answer:
                said = await answer.json(content_type=None)
                content, tokens = said["choices"][0]["message"]["content"], said["usage"]["total_tokens"]
        except TimeoutError:
            raise Failed from None
        if not isinstance(content, str) or not content or not isinstance(tokens, int):
            raise Failed
    SAMPLES[f"llm_tokens_total{{model={json.dumps(model)}}}"] += tokens
    return Answer(content, tokens, model)


async def complete(text: str, temperature: float = 0.7, hint: str = "") -> Answer:
    """The model's answer, or else the other model's."""
    with contextlib.suppress(Failed):
        return await complete_once(MODEL, asked(MODEL, text, temperature, hint))
    try:
        answer = await complete_once(FALLBACK, asked(FALLBACK, text, temperature, hint))
    except Refused:
        raise Failed from None
    answer.degraded = True
    return answer


# -- earlier answers --------------------------------------------------------------------------------------------------

flights: dict[str, asyncio.Task[Answer]] = {}


async def kept(key: str, longest: float) -> Answer | None:
    found: Any = await perhaps(lambda: redis.hmget(key, ["content", "tokens", "model", "at"]))
    if not found or None in found or float(found[3]) + longest < time.time():
        return None
    return Answer(found[0].decode(), int(found[1]), found[2].decode(), "HIT", at=float(found[3]))


async def keep(key: str, answer: Answer) -> None:
    async def put() -> None:
        async with redis.pipeline() as pipe:
            fields: Any = {
                "content": answer.content,
                "tokens": answer.tokens,
                "model": answer.model,
                "at": repr(answer.at),
            }
            pipe.hset(key, mapping=fields)
            pipe.expire(key, math.ceil(max(FRESH, STALE)))
            await pipe.execute()

    await perhaps(put)


async def answered(caller: str, text: str, temperature: float) -> Answer:
    """An answer, from wherever; who asks the same at the same time gets the same."""
    key = "answer:" + digest(caller, MODEL, float(temperature), text)
    if key not in flights:
        flights[key] = asyncio.create_task(look_or_ask(key, caller, text, temperature))
        flights[key].add_done_callback(lambda task: (flights.pop(key), task.cancelled() or task.exception()))
    return await asyncio.shield(flights[key])


async def look_or_ask(key: str, caller: str, text: str, temperature: float) -> Answer:
    if found := await kept(key, FRESH):
        return found
    scope = "near:" + digest(caller, MODEL, EMBEDDER, float(temperature))
    vector = await direction(text) if ALIKE else None
    if vector and (found := await nearest(scope, text, vector)):
        found.source = "SEMANTIC"
        return found
    try:
        answer = await complete(text, temperature)
    except Failed:
        if found := await kept(key, STALE):
            found.source, found.degraded = "STALE", True
            return found
        raise
    if not answer.degraded:
        await keep(key, answer)
        if vector:
            await remember(scope, [answer.at, meaning(text), key, vector])
    return answer


async def direction(text: str) -> list[float] | None:
    """The text's embedding at length 1; None when there is none."""
    body = {"model": EMBEDDER, "input": [text], "encoding_format": "float"}
    try:
        async with asyncio.timeout(min(PATIENCE, 1)), posted("/embeddings", body) as answer:
            vector = [float(number) for number in (await answer.json(content_type=None))["data"][0]["embedding"]]
    except (Failed, Refused, TimeoutError):
        return None
    length = math.sqrt(sum(number * number for number in vector))
    return [number / length for number in vector] if 0 < length < math.inf else None


def meaning(text: str) -> str:
    """What embeddings do not see: numbers, and whether there is a negation."""
    negated = re.search(r"\b(not|no|never|none|without|cannot)\b|n['\u2019]t\b", text, re.IGNORECASE)
    return " ".join(re.findall(r"\d+(?:\.\d+)?", text)) + (" not" if negated else "")


async def nearest(scope: str, text: str, vector: list[float]) -> Answer | None:
    entries = [json.loads(entry) for entry in await perhaps(lambda: redis.lrange(scope, 0, -1)) or []]
    best, place = ALIKE, None
    for at, sense, key, other in entries:
        if at + FRESH > time.time() and sense == meaning(text) and len(other) == len(vector):
            likeness = sum(a * b for a, b in zip(vector, other, strict=True))
            if likeness >= best:
                best, place = likeness, key
    return await kept(place, FRESH) if place else None


async def remember(scope: str, entry: list[Any]) -> None:
    async def put() -> None:
        async with redis.pipeline() as pipe:
            pipe.rpush(scope, json.dumps(entry))
            pipe.ltrim(scope, -110, -1)
            pipe.expire(scope, math.ceil(FRESH))
            await pipe.execute()

    await perhaps(put)


# -- routes -----------------------------------------------------------------------------------------------------------


async def root(_: Request) -> Response:
    return JSONResponse({"message": "single"})


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
    answer = await answered(caller, message, temperature)
    body = {"response": answer.content, "tokens_used": answer.tokens, "model": answer.model}
    body |= {"from_cache": answer.source != "MISS", "degraded": answer.degraded}
    return JSONResponse(body, headers={"X-Cache": answer.source})


async def summarize(request: Request) -> Response:
    caller = await guarded(request)
    fields = await fields_of(request, "text", "length")
    demand(is_text(fields.get("text"), 10, 10000), "text")
    length = fields.get("length", "medium")
    demand(length in ("short", "medium", "long"), "length")
    await admit(caller)
    answer = await complete(fields["text"], hint=f"Sum up the text. Length: {length}.")
    return JSONResponse({"summary": answer.content, "tokens_used": answer.tokens, "degraded": answer.degraded})


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
                answer = await complete(item.strip())
                results[place] = {"item": item, "response": answer.content, "error": None}
            except (Failed, Refused):
                results[place] = {"item": item, "response": None, "error": "the model failed"}

    await asyncio.gather(*(work() for _ in range(8)))
    return JSONResponse({"results": results})


async def chat_stream(request: Request) -> Response:
    caller = await guarded(request)
    message, temperature = await chat_fields(request)
    await admit(caller)
    return StreamingResponse(with_watch(request, spoken(message, temperature)), media_type="text/event-stream")


async def with_watch(request: Request, events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Pass on events until the client goes away, or the process must end."""
    left: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    closing: asyncio.Future[Any] = asyncio.ensure_future(outside.closing.wait())
    following = left
    try:
        while True:
            following = asyncio.ensure_future(anext(events))
            await asyncio.wait({left, closing, following}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                if closing.done():
                    yield event("error", {"message": "the service stops"})
                return
            yield following.result()
    except StopAsyncIteration:
        return
    finally:
        for future in (left, closing, following):
            future.cancel()


async def spoken(message: str, temperature: float) -> AsyncIterator[str]:
    begun = False
    for model in (MODEL, FALLBACK):
        try:
            async for name, data in said_by(model, message, temperature):
                begun = True
                yield event(name, data)
        except (Failed, Refused):
            if begun:
                break
        else:
            return
    yield event("error", {"message": "broken off"})


async def said_by(model: str, message: str, temperature: float) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    question = asked(model, message, temperature) | {"stream": True, "stream_options": {"include_usage": True}}
    tokens, ended, first = 0, False, time.monotonic() + PATIENCE
    with calling(model):
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(PATIENCE):
                    answer = await stack.enter_async_context(posted("/chat/completions", question))
                while True:
                    patience = first - time.monotonic() if first else PATIENCE
                    async with asyncio.timeout(patience):
                        line = await answer.content.readline()
                    if not line:
                        break
                    if not line.startswith(b"data: {"):
                        continue
                    chunk = json.loads(line[6:])
                    tokens = chunk["usage"]["total_tokens"] if chunk.get("usage") else tokens
                    for choice in chunk["choices"]:
                        ended = ended or bool(choice.get("finish_reason"))
                        if choice["delta"].get("content"):
                            first = 0
                            yield "token", {"text": choice["delta"]["content"]}
        except (TimeoutError, ValueError, LookupError, TypeError, AttributeError):
            raise Failed from None
        if first or not ended or not tokens:
            raise Failed
    SAMPLES[f"llm_tokens_total{{model={json.dumps(model)}}}"] += tokens
    yield "done", {"tokens_used": tokens}


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
    key = "fail:" + digest(username, request.client and request.client.host)
    refuse_after(*await failed_logins(key, add=False), MAX_FAILURES)
    found = await member(username.replace("\0", ""))
    salt, expected, _ = found or ("nobody", "", 0)
    if not hmac.compare_digest(await asyncio.to_thread(derived, password, salt), expected):
        refuse_after(*await failed_logins(key, add=True), MAX_FAILURES + 1)
        raise HTTPException(401, "credentials", {"WWW-Authenticate": "Form"})
    answer = {"access_token": issue(username), "token_type": "bearer", "expires_in": LIFETIME}
    return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def refuse_after(count: int, left: float, most: int) -> None:
    if count >= most:
        raise HTTPException(429, "failures", {"Retry-After": str(max(1, math.ceil(left)))})


async def protected(request: Request) -> Response:
    username, _ = await token_user(request)
    return JSONResponse({"message": f"Hello {username}"})


async def delete(request: Request) -> Response:
    await guarded(request, rank=2)
    gone = "DELETE FROM member WHERE username = ? RETURNING username"
    if not await query(gone, request.path_params["username"].replace("\0", "")):
        raise HTTPException(404, "user")
    return JSONResponse({"deleted": 1})


# -- probes -----------------------------------------------------------------------------------------------------------


async def well(look: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(1.5):
            await look
    except Exception:  # noqa: BLE001
        return "unhealthy"
    return "healthy"


async def models() -> None:
    http: aiohttp.ClientSession = outside.http
    async with http.get(BASE_URL + "/models") as answer:
        answer.raise_for_status()


def reading() -> Awaitable[object]:
    return query("SELECT 1 FROM member LIMIT 1")


async def health(_: Request) -> Response:
    looks = {"llm": models(), "database": reading(), "redis": redis.ping()}
    checks = dict(zip(looks, await asyncio.gather(*map(well, looks.values())), strict=True))
    status = "degraded" if "unhealthy" in checks.values() else "healthy"
    status = "unhealthy" if checks["database"] == "unhealthy" else status
    told = {name: {"status": state} for name, state in checks.items()}
    body = {"status": status, "timestamp": datetime.now(UTC).isoformat(), "checks": told}
    return JSONResponse(body, 503 if status == "unhealthy" else 200)


async def livez(_: Request) -> Response:
    return Response("alive")


async def readyz(_: Request) -> Response:
    if await well(reading()) == "unhealthy":
        raise HTTPException(503, "database")
    return Response("ready")


# -- tasks ------------------------------------------------------------------------------------------------------------

ENQUEUE = """
if ARGV[7] == '1' then
  local known = redis.call('GET', KEYS[1])
  if known then return known end
end
if redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[1]) then return 'full' end
if ARGV[7] == '1' then redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3], 'EX', 3600) end
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[3], 'caller', ARGV[4], 'message', ARGV[5], 'temperature', ARGV[6], 'status', 'processing')
redis.call('EXPIRE', KEYS[3], 3600)
redis.call('XADD', KEYS[4], '*', 'task', ARGV[2])
return ARGV[2] .. ' ' .. ARGV[3]
"""
"""KEYS the idempotency key, the unfinished tasks, the task, the stream. ARGV room, task, fingerprint, caller, message,
temperature, whether there is an idempotency key. Returns task and fingerprint, or 'full'."""

FINISH = """
if redis.call('HGET', KEYS[1], 'status') == 'processing' then
  redis.call('HSET', KEYS[1], 'status', ARGV[2], 'result', ARGV[3])
end
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('XACK', KEYS[3], 'workers', ARGV[4])
redis.call('XDEL', KEYS[3], ARGV[4])
"""
"""KEYS the task, the unfinished tasks, the stream. ARGV task, status, result, entry of the stream."""

enqueue, finish = redis.register_script(ENQUEUE), redis.register_script(FINISH)


async def chat_async(request: Request) -> Response:
    caller = await guarded(request)
    message, temperature = await chat_fields(request)
    key = request.headers.get("idempotency-key")
    demand(key is None or re.fullmatch(r"[!-~]{1,128}", key), "Idempotency-Key")
    await admit(caller)
    task, body = secrets.token_hex(16), digest(message, float(temperature))
    names = ["idem:" + digest(caller, key), "tasks:open", f"task:{task}", "tasks"]
    args: Any = [QUEUE_MAX, task, body, caller, message, repr(float(temperature)), int(key is not None)]
    known = (await shared(lambda: enqueue(keys=names, args=args))).decode()
    if known == "full":
        raise HTTPException(503, "too many tasks", {"Retry-After": "5"})
    task, earlier = known.split()
    demand(earlier == body, "Idempotency-Key was used for another body")
    place = {"Location": f"/chat-status/{task}"}
    return JSONResponse({"task_id": task, "status": "processing"}, 202, headers=place)


async def chat_status(request: Request) -> Response:
    caller = await guarded(request, rank=0)
    names = ["caller", "status", "result"]
    found: Any = await shared(lambda: redis.hmget("task:" + request.path_params["task"], names))
    if found[0] is None or found[0].decode() != caller:
        raise HTTPException(404, "task")
    return JSONResponse({"status": found[1].decode(), "result": json.loads(found[2]) if found[2] else None})


class Worker:
    """Takes entries of the stream; one that another worker has had for too long first."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(6)
        self.overdue = int(1000 * (2 * PATIENCE + 4))

    async def run(self) -> None:
        while True:
            try:
                with contextlib.suppress(ResponseError):  # the group is there
                    await redis.xgroup_create("tasks", "workers", id="0", mkstream=True)
                while True:
                    for entry, fields in await self.entries():
                        await self.do(entry, fields[b"task"].decode())
            except (RedisError, OSError):
                await asyncio.sleep(0.5)

    async def entries(self) -> list[Any]:
        claimed: Any = await redis.xautoclaim("tasks", "workers", self.name, self.overdue, count=1)
        if claimed[1]:
            return list(claimed[1])
        read: Any = await redis.xreadgroup("workers", self.name, {"tasks": ">"}, count=1, block=500)
        return [pair for _, pairs in read for pair in pairs]

    async def do(self, entry: bytes, task: str) -> None:
        message, temperature = cast("list[Any]", await redis.hmget(f"task:{task}", ["message", "temperature"]))
        status, result = "failed", ""
        if message is not None and temperature is not None:
            with contextlib.suppress(Failed, Refused):
                answer = await complete(message.decode(), float(temperature))
                told = {"response": answer.content, "tokens_used": answer.tokens, "model": answer.model}
                status, result = "complete", json.dumps(told)
        await finish(keys=[f"task:{task}", "tasks:open", "tasks"], args=[task, status, result, entry])


async def work() -> None:
    async with provider(), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(Worker().run())


# -- the application --------------------------------------------------------------------------------------------------


async def openapi(_: Request) -> Response:
    paths: dict[str, dict[str, str]] = {route.path: {} for route in routes}
    return JSONResponse({"openapi": "3.1.0", "info": {"title": "Single", "version": "1"}, "paths": paths})


async def docs(_: Request) -> Response:
    return HTMLResponse("<!doctype html><title>Single</title><a href='openapi.json'>The API</a>")


async def refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail, error.headers)
    if isinstance(error, Refused):
        return problem(502, "the provider does not take it")
    log.warning("away", extra={"fields": {"reason": type(error).__name__}})
    return problem(503, "at the moment", {"Retry-After": "1"})


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[None]:
    authorization = {"Authorization": f"Bearer {PROVIDER_KEY}"}
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=authorization, connector=connector, timeout=timeout) as http:
        outside.http = http
        yield


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    loop, default = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: Any) -> None:
        watchdog = threading.Timer(7, os.kill, (os.getpid(), signal.SIGTERM))
        watchdog.daemon = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        watchdog.start()
        loop.call_soon_threadsafe(loop.call_later, 5, outside.closing.set)
        if callable(default):
            default(number, frame)

    signal.signal(signal.SIGTERM, end)
    creating = None if await created() else asyncio.create_task(keep_creating())
    async with provider():
        yield
    if creating:
        creating.cancel()
    for connection in idle:
        await connection.close()
    await redis.aclose()


Endpoint = Callable[[Request], Awaitable[Response]]
routes: list[Route] = []
TEMPLATES: dict[Any, str] = {}
PROVIDER_ROUTES = {"/chat", "/chat/stream", "/summarize", "/batch-process", "/chat-async"}


def add(path: str, endpoint: Endpoint, method: str = "POST") -> None:
    routes.append(Route(path, endpoint, methods=[method]))
    TEMPLATES[endpoint] = path


add("/", root, "GET")
add("/health", health, "GET")
add("/livez", livez, "GET")
add("/readyz", readyz, "GET")
add("/metrics", metrics, "GET")
add("/docs", docs, "GET")
add("/openapi.json", openapi, "GET")
add("/chat", chat)
add("/chat/stream", chat_stream)
add("/summarize", summarize)
add("/batch-process", batch)
add("/chat-async", chat_async)
add("/chat-status/{task}", chat_status, "GET")
add("/expensive-operation", expensive)
add("/login", login)
add("/protected", protected, "GET")
add("/admin/users/{username}", delete, "DELETE")
told_errors = (HTTPException, Failed, Refused, RedisAway, *DATABASE_ERRORS)
app = Watch(Starlette(routes=routes, lifespan=lifespan, exception_handlers=dict.fromkeys(told_errors, refused)))

if __name__ == "__main__":
    asyncio.run(work())
