"""What can be seen from outside: one line of JSON for each event, one id for each request, numbers for Prometheus.

(Section 6.) Nothing that a user sent or that opens a door is ever written: no bodies, no headers, no query strings.
"""

from __future__ import annotations

import logging  # SOLUTION 6
import sys  # SOLUTION 6
import threading  # SOLUTION 6
import time  # SOLUTION 6
import traceback  # SOLUTION 6
from typing import TYPE_CHECKING

import prometheus_client  # SOLUTION 6
import structlog  # SOLUTION 6
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import Counter, Histogram  # SOLUTION 6
from structlog.contextvars import bound_contextvars, merge_contextvars  # SOLUTION 6

from app import request_id, tracing  # SOLUTION 6
from app.problems import problem  # SOLUTION 6

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.settings import Settings

router = APIRouter(default_response_class=PlainTextResponse)

# BEGIN SOLUTION 6: Add GET /metrics; labels come from short lists, never from what a client sends.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
PROVIDER_ROUTES = {"/chat", "/chat/stream", "/summarize", "/batch-process", "/chat-async"}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # a model may take half a minute

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
REQUESTS = Counter("http_requests_total", "Answered requests", ["method", "handler", "status"])
DURATION = Histogram("http_request_duration_seconds", "Seconds to the end", ["method", "handler"], buckets=SECONDS)
TOKENS = Counter("llm_tokens_total", "Tokens of completions, as the provider bills them", ["model"])
CACHE = Counter("cache_requests_total", "Answers of /chat by where they came from", ["result"])
LIMITED = Counter("rate_limited_total", "Refusals with 429 on routes that ask the model")


@router.get("/metrics")
async def metrics() -> Response:
    """Show all numbers in Prometheus's text format."""
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


# END SOLUTION


def count_tokens(model: str, tokens: int) -> None:
    """Count what a completion cost."""
    # BEGIN SOLUTION 6: Count under the model that answered.
    TOKENS.labels(model).inc(tokens)
    # END SOLUTION


# BEGIN SOLUTION 6: Write every line as one JSON object, those of the server and the libraries too.
class ToStructlog(logging.Handler):
    """Passes records of the standard library's logging on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as an event."""
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def describe_error(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn an exception into a field: where and of which type, but not its message, which may quote a user."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__
    return event


def quiet_the_rest() -> None:
    """Let nothing but our handler write: uvicorn's own, warnings, and what Python prints about lost exceptions."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # it writes query strings; our record replaces it
    logging.captureWarnings(capture=True)
    lost = structlog.get_logger()
    sys.excepthook = lambda kind, error, trace: lost.critical("uncaught", exc_info=(kind, error, trace))
    sys.unraisablehook = lambda args: lost.error("unraisable", exc_info=args.exc_value)
    threading.excepthook = lambda args: lost.error("uncaught in a thread", exc_info=args.exc_value)


# END SOLUTION


def configure(settings: Settings) -> None:
    """Set logging up for the whole process."""
    # BEGIN SOLUTION 6: Add time, level and request to each event; libraries may only warn: their details quote prompts.
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[
            merge_contextvars,
            tracing.add_trace_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            describe_error,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[ToStructlog()], level=max(level, logging.WARNING), force=True)
    logging.getLogger("uvicorn").setLevel(level)
    quiet_the_rest()
    tracing.configure()
    # END SOLUTION


# BEGIN SOLUTION 6: Follow each request from its first byte to its last: id, time, status, one record.
class Exchange:
    """One request and what becomes of it."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.began = time.perf_counter()
        self.id = request_id.accepted_or_new(scope["headers"])
        self.status = 0
        self.source = ""  # X-Cache of the answer
        self.recorded = False

    def begin(self, message: Message) -> None:
        """Note the status, and add our headers."""
        self.status = message["status"]
        headers = message["headers"] = list(message.get("headers", ()))
        self.source = next((v.decode().lower() for k, v in headers if k.lower() == b"x-cache"), "")
        headers.append((b"x-request-id", self.id.encode()))
        headers.append((b"x-process-time", f"{time.perf_counter() - self.began:.6f}".encode()))

    def record(self) -> None:
        """Write the access record and count, once."""
        if self.recorded:
            return
        self.recorded = True
        seconds = time.perf_counter() - self.began
        method = self.scope["method"] if self.scope["method"] in METHODS else "other"
        handler = getattr(self.scope.get("route"), "path", "unknown")
        status = self.status or 499  # nginx's number for a client that left before the answer
        REQUESTS.labels(method, handler, status).inc()
        DURATION.labels(method, handler).observe(seconds)
        if handler == "/chat" and status == 200:
            CACHE.labels(self.source).inc()
        if handler in PROVIDER_ROUTES and status == 429:
            LIMITED.inc()
        structlog.get_logger().info(
            "answered",
            method=method,
            path=self.scope["path"],
            route=handler,
            status=status,
            duration_ms=round(seconds * 1000, 3),
        )


# END SOLUTION


class Telemetry:
    """ASGI middleware around everything else: gives each request an id, a record and its place in the metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch one request; what nobody else has caught becomes a 500 here."""
        # BEGIN SOLUTION 6: Bind the id, pass the messages on, record before the last one leaves.
        #: await self.app(scope, receive, send)
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.begin(message)
            elif not message.get("more_body"):
                exchange.record()
            await send(message)

        with bound_contextvars(request_id=exchange.id):
            try:
                await self.app(scope, receive, watched)
            except Exception:  # noqa: BLE001  # the last one that can
                structlog.get_logger().exception("unexpected")
                if not exchange.status:
                    await problem(500)(scope, receive, watched)
            finally:
                exchange.record()
        # END SOLUTION
