"""Who calls, and what they may do: API keys, tokens, roles, login (section 3)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.routing import APIRoute

from app import door
from app.roles import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from app.settings import Settings
    from app.store import Store, User

CLOCKS_DIFFER_BY_S = 5
USERNAME = r"[a-z0-9_-]{1,32}"

router = APIRouter()


@dataclass(frozen=True)
class Caller:
    """The client of an API key, or a user: `client:ada` and `user:ada` are two."""

    id: str
    role: Role


def caller_of(request: Request) -> Caller:
    """Return who sent a request that has passed `ProviderRoute`."""
    caller: Caller = request.state.caller
    return caller


# TODO (lab 3): Find out who calls by the digest of the key or by the token; the role of a user is in the database.


async def authorized(request: Request, least: Role) -> Caller:
    """Return who sent a request, if they may do what `least` may. Raises 401, then 403."""
    # TODO (lab 3): Ask who it is, then compare roles.
    return Caller("anonymous", Role.ADMIN)


class ProviderRoute(APIRoute):
    """A route that costs money: it knows who asks, and that they may, before it reads what they ask."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the question who calls in front of FastAPI's work, which begins with the body."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            async with door.entered(request.app):
                request.state.caller = await authorized(request, Role.USER)
                return await handle(request)

        return answer


# TODO (lab 3): Tell FastAPI which credentials there are, so that /docs can ask for them; `authorized` checks them.
CREDENTIALS: list[Any] = []


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, count failed logins."""
    # TODO (lab 3): Count them in Redis.
    yield


# TODO (lab 3): Add POST /login, GET /protected for users, and DELETE /admin/users/{username} for admins.
