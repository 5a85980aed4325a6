"""Api: a running service as checks see it: fresh callers, users, tokens, and the settings it was started with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jwt

from grader.client import Caller, User
from grader.exchange import Exchange
from grader.expectation import Broken, expect

if TYPE_CHECKING:
    import redis

    from grader import wire
    from grader.postgres import PostgresDatabase
    from grader.service import Service
    from grader.settings import Key, Settings
    from grader.stack import SqliteDatabase


@dataclass
class Pool:
    """Keys and users that no check has used yet; replicas draw from one pool."""

    keys: dict[str, Iterator[Key]]
    users: dict[str, Iterator[User]]

    @classmethod
    def of(cls, settings: Settings) -> Pool:
        """Lay out the keys and users of a start."""
        roles = ("user", "admin", "guest")
        return cls(
            {role: iter([key for key in settings.keys if key.role == role]) for role in roles},
            {role: iter([user for user in settings.users if user.role == role]) for role in roles},
        )


class Api:
    """One replica of the service under test, and who may call it."""

    def __init__(
        self,
        service: Service,
        settings: Settings,
        pool: Pool,
        *,
        database: SqliteDatabase | PostgresDatabase,
    ) -> None:
        self.service = service
        self.settings = settings
        self.pool = pool
        self.database = database

    @cached_property
    def redis(self) -> redis.Redis:
        """A client on the service's own Redis database; keys are for looking at lifetimes and plain text only."""
        import redis  # noqa: PLC0415  # 0.2 s, for the few checks that look into it

        return redis.Redis.from_url(self.settings.env["REDIS_URL"], socket_timeout=5.0)

    def without_database(self) -> AbstractContextManager[None]:
        """Make the database unreachable inside: SQLite's file becomes a folder, PostgreSQL stops."""
        if hasattr(self.database, "broken"):
            return self.database.broken()
        return self.database.stopped()

    @property
    def address(self) -> wire.Address:
        """Host and port."""
        return self.service.address

    @property
    def url(self) -> str:
        """The base URL."""
        return self.service.url

    @property
    def anonymous(self) -> Caller:
        """Somebody without credentials."""
        return self._caller({}, "anonymous")

    def new_caller(self, role: str = "user") -> Caller:
        """Return a client that no check has used, with an API key."""
        key = next(self.pool.keys[role])
        return self._caller({"X-API-Key": key.secret}, key.client)

    def new_user(self, role: str = "user") -> User:
        """Return a seeded user whom no check has used. Raises ``LookupError`` when the lab asked for too few."""
        user = next(self.pool.users[role], None)
        if user is None:
            raise LookupError(f"no unused user with role {role}: raise Lab(users=…) or services.start(users=…)")
        return user

    def login(self, user: User, password: str | None = None, *, caller: Caller | None = None) -> Exchange:
        """POST /login with a user's name and a password, their own unless another is given."""
        form = {"username": user.username, "password": user.password if password is None else password}
        return (caller or self.anonymous).post("/login", data=form)

    def token(self, user: User) -> str:
        """Log a user in and return the access token."""
        exchange = self.login(user)
        expect(exchange).status(200)
        token = expect(exchange).find("access_token")
        if not isinstance(token, str):
            raise Broken(f"{exchange} with an access_token that is no text.", [exchange])
        return token

    def token_caller(self, user: User) -> Caller:
        """Log a user in and return the user as a caller by token."""
        return self.bearer(self.token(user))

    def bearer(self, token: str, scheme: str = "Bearer") -> Caller:
        """Return a caller with a token."""
        return self._caller({"Authorization": f"{scheme} {token}"}, "token")

    def with_headers(self, headers: Mapping[str, str]) -> Caller:
        """Return a caller with any headers."""
        return self._caller(headers, "custom")

    def mint(
        self,
        username: str,
        *,
        without: Sequence[str] = (),
        secret: str | None = None,
        algorithm: str = "HS256",
        header: Mapping[str, Any] | None = None,
        **claims: object,
    ) -> str:
        """Make a token as the contract describes it, then change it: claims replaced, left out, another key."""
        now = int(time.time())
        env = self.settings.env
        payload: dict[str, object] = {
            "sub": username,
            "iss": env["JWT_ISSUER"],
            "aud": env["JWT_AUDIENCE"],
            "iat": now,
            "exp": now + 600,
        }
        payload = {name: value for name, value in (payload | claims).items() if name not in without}
        key = "" if algorithm == "none" else (secret or env["JWT_SECRET"])
        # PyJWT refuses odd claim types; tokens of an attacker are not so polite, so no validation of ours.
        return jwt.encode(payload, key, algorithm=algorithm, headers=dict(header or {}))

    def _caller(self, headers: Mapping[str, str], name: str) -> Caller:
        disguise = self.settings.disguise
        return Caller(self.address, headers, service=self.service.name, name=name, disguise=disguise)
