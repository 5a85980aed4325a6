"""Probes (section 6)."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response

router = APIRouter()


async def report(app: FastAPI) -> Response:
    """Return how the service and what it depends on are."""
    return JSONResponse({"status": "healthy"})
