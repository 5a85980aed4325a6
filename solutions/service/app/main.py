"""The service: its topics put together. Start it with `uvicorn app.main:app`."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response

from app import auth, chat, door, drain, health, jobs, limits, problems, shared, store, telemetry
from app.body_limit import BodyLimit
from app.drain import Drain
from app.settings import Settings
from app.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open what each topic holds, in the order in which they build on one another; close it in reverse."""
    async with AsyncExitStack() as stack:
        for topic in (drain, door, store, shared, auth, limits, chat, health):
            await stack.enter_async_context(topic.opened(app))
        yield


def create_app(settings: Settings) -> FastAPI:
    """Return the application; nothing is connected before it starts."""
    telemetry.configure(settings)
    # BEGIN SOLUTION 1: Give the API a title, a version and its documentation.
    #: app = FastAPI(openapi_url=None, lifespan=lifespan)
    app = FastAPI(title="Assistant", version="1.0.0", redirect_slashes=False, lifespan=lifespan)
    # END SOLUTION
    app.router.responses.update(problems.RESPONSES)  # SOLUTION 7
    app.state.settings = settings
    for router in (
        chat.router,
        auth.router,
        limits.router,
        telemetry.router,
        health.router,
        jobs.router,
        jobs.provider_router,
    ):
        app.include_router(router)
    problems.install(app)
    for middleware in (BodyLimit, Drain, Telemetry):  # each wraps those before it
        app.add_middleware(middleware)
    return app


app = create_app(Settings.from_environment())


# BEGIN SOLUTION 1: Greet with a JSON object.
#: @app.get("/")
#: async def root() -> str:
#:     """Show that it works."""
#:     return "It works on my machine"
@app.get("/")
async def root() -> dict[str, str]:
    """Greet."""
    return {"message": "Ask me something: POST /chat"}


# END SOLUTION


# BEGIN SOLUTION 1: Add GET /health, for whoever watches over the service; `health.report` knows what to say.
@app.get("/health")
async def health_check() -> Response:
    """Say how the service is."""
    return await health.report(app)


# END SOLUTION
