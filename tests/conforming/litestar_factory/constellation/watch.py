"""Lines of JSON, made by hand; numbers for Prometheus; and a wrapper around the application that makes both."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from typing import Any

import msgspec
from litestar import Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

REGISTRY = CollectorRegistry()
REQUESTS = Counter("http_requests", "Answers", ["method", "handler", "status", "service"], registry=REGISTRY)
SECONDS = Histogram("http_request_duration_seconds", "Durations", ["method", "handler", "service"], registry=REGISTRY)
TOKENS = Counter("llm_tokens", "Tokens of completions", ["model"], registry=REGISTRY)
CACHE = Counter("cache_requests", "Chats", ["result"], registry=REGISTRY)
LIMITED = Counter("rate_limited", "Refusals", registry=REGISTRY)
COSTLY = {"/chat", "/chat/stream", "/summarize", "/batch-process", "/chat-async"}
KNOWN = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}

trail: ContextVar[str] = ContextVar("trail", default="")


class Lines(logging.Handler):
    """Each record as one object: on stderr, in UTC."""

    def emit(self, record: logging.LogRecord) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"timestamp": f"{stamp}.{int(record.msecs):03}Z", "level": record.levelname.lower()}
        line |= {"message": record.getMessage(), "from": record.name}
        if trail.get():
            line["request_id"] = trail.get()
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__qualname__
        line |= record.__dict__.get("more", {})
        sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
        sys.stderr.flush()


def take_over_logging(level: str) -> None:
    logging.root.handlers = [Lines()]
    logging.root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            logger.handlers = []
            logger.propagate = True
            logger.disabled = name == "uvicorn.access"
    for name in ("httpx", "httpcore", "asyncio", "litestar"):  # they quote addresses and errors
        logging.getLogger(name).setLevel(logging.CRITICAL)


def exposition() -> Response[bytes]:
    return Response(generate_latest(REGISTRY), media_type="text/plain; version=0.0.4; charset=utf-8")


class Watched:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        trail.set(given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else str(uuid.uuid4()))
        begun, status, source = time.perf_counter(), 0, ""

        async def seen(message: Message) -> None:
            nonlocal status, source
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = dict(message["headers"])
                source = answer.get(b"x-cache", b"").decode().lower()
                took = format(time.perf_counter() - begun, ".5f").encode()
                message["headers"] = [
                    *message["headers"],
                    (b"X-Request-ID", trail.get().encode()),
                    (b"X-Process-Time", took),
                ]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            if status:
                note(scope, status, time.perf_counter() - begun, source)


def note(scope: Any, status: int, seconds: float, source: str) -> None:
    method = scope["method"] if scope["method"] in KNOWN else "ODD"
    route = scope.get("path_template") or "nowhere"
    route = re.sub(r":\w+}", "}", route)
    REQUESTS.labels(method, route, status, "constellation").inc()
    SECONDS.labels(method, route, "constellation").observe(seconds)
    if route == "/chat" and status == 200:
        CACHE.labels(source).inc()
    if route in COSTLY and status == 429:
        LIMITED.inc()
    more = {"method": method, "path": scope["path"], "status": status, "duration_ms": round(1000 * seconds)}
    logging.getLogger("constellation").info("answered", extra={"more": more})
