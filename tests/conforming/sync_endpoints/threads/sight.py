"""Logs by python-json-logger, numbers by prometheus_client's own registry, and the ASGI middleware that makes both."""

from __future__ import annotations

import logging
import logging.config
import re
import time
import uuid
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter("http_requests_total", "Answers", ["method", "handler", "status"])
DURATIONS = Histogram("http_request_duration_seconds", "Until the last byte", ["handler"])
TOKENS = Counter("llm_tokens_total", "Billed tokens", ["model"])
CHATS = Counter("cache_requests_total", "Answers of /chat", ["result"])
REFUSED = Counter("rate_limited_total", "429 on provider routes")
PROVIDER = {"/chat", "/chat/stream", "/summarize", "/batch-process", "/chat-async"}

current: ContextVar[str | None] = ContextVar("current", default=None)


class WithRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if current.get():
            record.request_id = current.get()
        if record.exc_info and record.exc_info[0]:  # what an error says may be what a user said
            record.exception, record.exc_info = record.exc_info[0].__name__, None
        return True


def configure(level: str) -> None:
    fields = {"levelname": "level", "asctime": "timestamp", "name": "logger"}
    formatter = {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        "datefmt": "%Y-%m-%dT%H:%M:%S+00:00",
        "rename_fields": fields,
    }
    handler = {"class": "logging.StreamHandler", "formatter": "json", "filters": ["request"]}
    quiet = {name: {"level": "CRITICAL"} for name in ("asyncio", "httpx", "httpcore", "uvicorn.access", "kombu")}
    logging.Formatter.converter = time.gmtime
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": formatter},
            "filters": {"request": {"()": WithRequest}},
            "handlers": {"out": handler},
            "root": {"level": level.upper(), "handlers": ["out"]},
            "loggers": {**quiet, "uvicorn": {"handlers": []}, "uvicorn.error": {"handlers": []}},
        }
    )
    logging.getLogger("uvicorn").propagate = True
    logging.getLogger("uvicorn.access").handlers.clear()
    logging.captureWarnings(capture=True)


def problem(status: int, detail: Any = None, headers: Any = None) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "request_id": current.get()}
    body |= {"detail": detail} if detail else {}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


class Sight:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        current.set(given if re.fullmatch("[A-Za-z0-9._-]{1,64}", given) else f"r-{uuid.uuid4()}")
        start, begun = time.monotonic(), dict[str, Any]()

        async def outwards(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.update(message)
                own = [(b"x-request-id", (current.get() or "").encode())]
                own.append((b"x-process-time", f"{time.monotonic() - start:.4f}".encode()))
                message = {**message, "headers": [*message["headers"], *own]}
            elif not message.get("more_body"):
                write_down(scope, begun, time.monotonic() - start)
            await send(message)

        try:
            await self.app(scope, receive, outwards)
        except Exception:
            logging.getLogger("threads").exception("unforeseen")
            if not begun:
                await problem(500)(scope, receive, outwards)


def write_down(scope: Scope, begun: dict[str, Any], seconds: float) -> None:
    known = scope["method"] in {"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"}
    method, handler = scope["method"] if known else "?", getattr(scope.get("route"), "path", "?")
    status = begun["status"]
    REQUESTS.labels(method, handler, status).inc()
    DURATIONS.labels(handler).observe(seconds)
    if handler == "/chat" and status == 200:
        CHATS.labels(dict(begun["headers"])[b"x-cache"].decode().lower()).inc()
    if handler in PROVIDER and status == 429:
        REFUSED.inc()
    fields = {"method": method, "path": scope["path"], "status": status, "duration_ms": int(seconds * 1000)}
    logging.getLogger("threads.access").info("%s %s", method, status, extra=fields)
