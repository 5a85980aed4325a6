"""Who calls, and what they may do: API keys, tokens, roles, login (section 3)."""

from __future__ import annotations

import hashlib  # SOLUTION 3
import math  # SOLUTION 3
import re  # SOLUTION 3
import time  # SOLUTION 3
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import jwt  # SOLUTION 3
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer, OAuth2PasswordRequestForm  # SOLUTION 3

from app import door
from app.passwords import verified  # SOLUTION 3
from app.roles import Role
from app.throttle import SharedThrottle, Throttle, survivable, throttle_key  # SOLUTION 3

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


# BEGIN SOLUTION 3: Find out who calls by the digest of the key or by the token; the role of a user is in the database.
UNAUTHENTICATED = {"WWW-Authenticate": "Bearer"}  # a 401 must say how to do better: RFC 9110, section 11.6.1


def unauthenticated() -> HTTPException:
    """Return the one answer to missing and to wrong credentials; it does not tell which."""
    return HTTPException(401, "The credentials are missing or not valid.", UNAUTHENTICATED)


async def identify(request: Request) -> Caller:
    """Return who sent a request. Raises 401."""
    if key := request.headers.get("x-api-key"):
        return client_of(key, request.app.state.settings)
    return await user_of(request)


def client_of(key: str, settings: Settings) -> Caller:
    """Return the client of an API key; only digests are kept, and looking one up tells nothing by its time."""
    digest = hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()
    if client := settings.api_keys.get(digest):
        return Caller(f"client:{client.client}", client.role)
    raise unauthenticated()


async def user_of(request: Request) -> Caller:
    """Return the user of a token, as long as the user is there (RFC 6750). Raises 401."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise unauthenticated()
    user = await user_named(subject(token.strip(), request.app.state.settings), request.app.state.store)
    if user is None:
        raise unauthenticated()
    return Caller(f"user:{user.username}", Role(user.role))


async def user_named(username: str, store: Store) -> User | None:
    """Return a user; what cannot be a username is not asked for."""
    return await store.find(username) if re.fullmatch(USERNAME, username) else None


def subject(token: str, settings: Settings) -> str:
    """Return whom a token was made for; one algorithm, and all claims demanded (RFC 8725). Raises 401."""
    try:
        claims = jwt.decode(
            token,
            settings.jwt_secret.get_secret_value(),
            algorithms=["HS256"],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=CLOCKS_DIFFER_BY_S,
            options={"require": ["sub", "iss", "aud", "iat", "exp"]},
        )
    except (jwt.InvalidTokenError, ValueError, OverflowError):
        raise unauthenticated() from None
    return str(claims["sub"])


def new_token(username: str, settings: Settings) -> str:
    """Return a token for a user."""
    now = int(time.time())
    claims = {
        "sub": username,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "iat": now,
        "exp": now + int(settings.jwt_ttl_s),
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256")


# END SOLUTION


async def authorized(request: Request, least: Role) -> Caller:
    """Return who sent a request, if they may do what `least` may. Raises 401, then 403."""
    # BEGIN SOLUTION 3: Ask who it is, then compare roles.
    #: return Caller("anonymous", Role.ADMIN)
    caller = await identify(request)
    if not caller.role.allows(least):
        raise HTTPException(403, "Your role does not allow this.")
    return caller
    # END SOLUTION


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


# BEGIN SOLUTION 3: Tell FastAPI which credentials there are, so that /docs can ask for them; `authorized` checks them.
#: CREDENTIALS: list[Any] = []
async def document_credentials(
    _key: Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))],
    _token: Annotated[str | None, Depends(OAuth2PasswordBearer("login", auto_error=False))],
) -> None:
    """Let /docs ask for credentials."""


CREDENTIALS = [Depends(document_credentials)]
# END SOLUTION


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, count failed logins."""
    # BEGIN SOLUTION 3: Count them in Redis.
    app.state.throttle = survivable(SharedThrottle(app.state.shared, app.state.settings), app.state.settings)
    # END SOLUTION
    yield


# BEGIN SOLUTION 3: Add POST /login, GET /protected for users, and DELETE /admin/users/{username} for admins.
@router.post("/login")
async def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request, response: Response
) -> dict[str, Any]:
    """Exchange a name and a password for a token (RFC 6749, section 4.3)."""
    throttle: Throttle = request.app.state.throttle
    key = throttle_key(form.username, request.client.host if request.client else "")
    refuse_if_shut(await throttle.wait(key))
    user = await user_named(form.username, request.app.state.store)
    if not await verified(form.password, user.password_hash if user else None):
        refuse_if_shut(await throttle.fail(key))
        raise unauthenticated()
    refuse_if_shut(await throttle.wait(key))  # others may have failed while we were checking
    response.headers["Cache-Control"] = "no-store"
    settings: Settings = request.app.state.settings
    token = new_token(form.username, settings)
    return {"access_token": token, "token_type": "bearer", "expires_in": int(settings.jwt_ttl_s)}


def refuse_if_shut(seconds: float) -> None:
    """Raise 429 if there are seconds to wait."""
    if seconds > 0:
        raise HTTPException(429, "Too many failed logins.", {"Retry-After": str(math.ceil(seconds))})


@router.get("/protected", dependencies=CREDENTIALS)
async def protected(request: Request) -> dict[str, str]:
    """Greet a user; keys are not enough."""
    user = await user_of(request)
    return {"message": f"Hello {user.id.removeprefix('user:')}"}


@router.delete("/admin/users/{username}", dependencies=CREDENTIALS)
async def remove_user(username: str, request: Request) -> dict[str, str]:
    """Remove a user; from now on their tokens are worth nothing."""
    await authorized(request, Role.ADMIN)
    store: Store = request.app.state.store
    if not re.fullmatch(USERNAME, username) or not await store.remove(username):
        raise HTTPException(404, "There is no such user.")
    return {"message": f"User {username} is removed"}


# END SOLUTION
