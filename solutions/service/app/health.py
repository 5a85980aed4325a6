"""Probes: whether the process lives, whether it can serve, and how all is that it depends on (section 6)."""

from __future__ import annotations

import asyncio  # SOLUTION 6
import time  # SOLUTION 6
from contextlib import asynccontextmanager
from datetime import UTC, datetime  # SOLUTION 6
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    import openai

    from app.settings import Settings
    from app.shared import Shared
    from app.store import Store

router = APIRouter()

LOOK_WITHIN_S = 2.0
LOOK_AGAIN_AFTER_S = 1.0
"""Whoever asks in between gets what was seen last: probes cost nothing, however many there are."""


# BEGIN SOLUTION 6: Look at each dependency without spending a token, all at once, none for long.
async def works(check: Awaitable[object]) -> bool:
    """Tell whether a check ends well and in time."""
    try:
        async with asyncio.timeout(LOOK_WITHIN_S):
            await check
    except Exception:  # noqa: BLE001  # whatever it is, it does not work
        return False
    return True


async def list_models(http: openai.DefaultAsyncHttpxClient, settings: Settings) -> None:
    """Ask the provider what it offers, which is free."""
    url = f"{str(settings.openai_base_url).rstrip('/')}/models"
    key = settings.openai_api_key.get_secret_value()
    (await http.get(url, headers={"Authorization": f"Bearer {key}"})).raise_for_status()


class Vitals:
    """The state of the dependencies, looked at when somebody asks."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._lock = asyncio.Lock()
        self._seen: dict[str, bool] = {}
        self._fresh_until = 0.0

    async def look(self) -> dict[str, bool]:
        """Return which dependencies work."""
        async with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._seen = await self._look()
                self._fresh_until = time.monotonic() + LOOK_AGAIN_AFTER_S
            return self._seen

    async def _look(self) -> dict[str, bool]:
        store: Store = self._app.state.store
        shared: Shared = self._app.state.shared
        checks = {
            "llm": list_models(self._app.state.http, self._app.state.settings),
            "database": store.ping(),
            "redis": shared.redis.ping(),
        }
        return dict(zip(checks, await asyncio.gather(*map(works, checks.values())), strict=True))


# END SOLUTION


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, remember what was seen last."""
    # BEGIN SOLUTION 6: Remember it for all who ask.
    app.state.vitals = Vitals(app)
    # END SOLUTION
    yield


async def report(app: FastAPI) -> Response:
    """Return how the service and all it depends on are, for people and dashboards."""
    # BEGIN SOLUTION 6: Without the database the service is unhealthy, 503; without the others it still does something.
    #: return JSONResponse({"status": "healthy"})
    vitals: Vitals = app.state.vitals
    seen = await vitals.look()
    status = "healthy" if all(seen.values()) else "degraded" if seen["database"] else "unhealthy"
    checks = {name: "healthy" if well else "unhealthy" for name, well in seen.items()}
    body = {"status": status, "timestamp": datetime.now(UTC).isoformat(), "checks": checks}
    return JSONResponse(body, 503 if status == "unhealthy" else 200)
    # END SOLUTION


# BEGIN SOLUTION 6: Add GET /livez (if it fails, restart me) and GET /readyz (if it fails, send me no traffic).
@router.get("/livez")
async def livez() -> dict[str, str]:
    """Answer, which is all that there is to show: nothing outside the process can be mended by a restart."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "The database cannot be reached."}})
async def readyz(request: Request) -> Response:
    """Say whether the database, without which not much works, can be reached."""
    ready = await works(request.app.state.store.ping())
    return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)


# END SOLUTION
