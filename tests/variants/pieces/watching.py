"""Telemetry as a function around the application (`@app.middleware("http")`): it sees answers, not messages."""

from __future__ import annotations

import time

import structlog
from app.problems import problem
from app.telemetry import Exchange
from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint
from structlog.contextvars import bound_contextvars


def install(app: FastAPI) -> None:
    """Watch all requests."""

    @app.middleware("http")
    async def watch(request: Request, call_next: RequestResponseEndpoint) -> Response:
        exchange = Exchange(request.scope)
        with bound_contextvars(request_id=exchange.id):
            try:
                response = await call_next(request)
            except Exception:  # noqa: BLE001
                structlog.get_logger().exception("unexpected")
                response = problem(500)
            response.headers["X-Request-ID"] = exchange.id
            response.headers["X-Process-Time"] = f"{time.perf_counter() - exchange.began:.4f}"
            exchange.status = response.status_code
            exchange.source = response.headers.get("x-cache", "").lower()
            exchange.record()
            return response
