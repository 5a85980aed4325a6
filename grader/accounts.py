"""Accounts: logging in, being greeted, being deleted, and the services that lab 3 has beside its main one."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import Iterator

from grader.api import Api
from grader.bench import Bench
from grader.exchange import Exchange
from grader.expectation import expect
from grader.messages import nonce
from grader.refusals import BadSetting, refuses_settings


def greeted(api: Api, token: str, username: str) -> None:
    """A token opens GET /protected, which greets its user."""
    expect(api.bearer(token).get("/protected")).status(200).field("message", f"Hello {username}")


def delete(api: Api, username: str, role: str = "admin") -> Exchange:
    """Ask for a user's end, as a new client with a role."""
    return api.new_caller(role).delete(f"/admin/users/{username}")


def try_login(api: Api, username: str, *, source: str = "", **headers: str) -> Exchange:
    """Try to log in with a wrong password, perhaps from another address of this machine."""
    caller = api.with_headers(headers).at(api.address, source=source)
    return caller.post("/login", data={"username": username, "password": nonce()})


@contextlib.contextmanager
def another_address() -> Iterator[str]:
    """Another address of this machine. Raises ``OSError`` where there is none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
    yield "127.0.0.2"


def pair(services: Bench) -> tuple[Api, Api]:
    """Two replicas that were started at the same time."""
    one, two = services.replicas(2, users=5, together=True)
    return one, two


def hasty(services: Bench) -> Api:
    """A service that throttles logins soon, and not for long."""
    return services.start(users=1, LOGIN_MAX_FAILURES="2", LOGIN_WINDOW_S="2.5")


def latecomer(services: Bench) -> Api:
    """A service whose database came later than itself."""
    api, database = services.start_without_database(users=1)
    expect(api.anonymous.get("/")).status(200, because="the start does not wait for the database")
    database.repair()
    return api


def misconfigured(services: Bench) -> None:
    """Services that must not start."""
    short, odd, number = nonce(31), nonce(40), f"-7{time.time_ns() % 10**9:09d}"
    digest = base64.b16encode(nonce(32).encode()).decode().lower()
    bad_key = f'{{"{odd}": {{"client": "acme", "role": "user"}}}}'
    settings = [
        BadSetting("JWT_SECRET", None, "absent"),
        BadSetting("JWT_SECRET", "", "empty"),
        BadSetting("JWT_SECRET", short, "of 31 bytes", short),
        BadSetting("JWT_ISSUER", None, "absent"),
        BadSetting("JWT_AUDIENCE", "", "empty"),
        BadSetting("JWT_TTL_S", number, "negative", number),
        BadSetting("LOGIN_MAX_FAILURES", "0", "0"),
        BadSetting("LOGIN_WINDOW_S", odd, "no number", odd),
        BadSetting("API_KEYS", odd, "no JSON", odd[:16]),
        BadSetting("API_KEYS", bad_key, "with a key that is not 64 hex digits", odd[:16]),
        BadSetting("API_KEYS", f'{{"{digest}": {{"client": "acme"}}}}', "without a role", digest[:16]),
        BadSetting("API_KEYS", f'{{"{digest}": {{"client": "a", "role": "{short}"}}}}', "with an odd role", short[:16]),
        BadSetting("SEED_USERS", odd, "no JSON", odd[:16]),
    ]
    for start in range(0, len(settings), 5):
        refuses_settings(services, settings[start : start + 5])
    expect(services.start(JWT_SECRET=nonce(32)).anonymous.get("/")).status(200, because="32 bytes are enough")
