"""Settings, parsed by hand."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ROLES = ("guest", "user", "admin")


def refuse(name: str, why: str) -> SystemExit:
    return SystemExit(f"configuration error: {name} {why}")


def text(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if not value:
        raise refuse(name, "is required")
    return value


def number(name: str, default: float, least: float, *, above: bool = False) -> float:
    try:
        value = float(text(name, str(default)))
    except ValueError:
        raise refuse(name, "is not a number") from None
    if not math.isfinite(value) or value < least or (above and value == least):
        raise refuse(name, "is out of range")
    return value


def integer(name: str, default: int, least: int) -> int:
    raw = text(name, str(default))
    if not re.fullmatch(r"[+-]?\d+", raw) or int(raw) < least:
        raise refuse(name, f"must be an integer of at least {least}")
    return int(raw)


def document(name: str, default: str, kind: type) -> Any:
    try:
        value = json.loads(os.environ.get(name) or default)
    except ValueError:
        raise refuse(name, "is not JSON") from None
    if not isinstance(value, kind):
        raise refuse(name, f"must be a JSON {kind.__name__}")
    return value


def api_keys() -> dict[str, tuple[str, str]]:
    keys = {}
    for digest, entry in document("API_KEYS", "{}", dict).items():
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise refuse("API_KEYS", "holds a key that is not 64 hex digits")
        if not isinstance(entry, dict) or not entry.get("client") or entry.get("role") not in ROLES:
            raise refuse("API_KEYS", "needs a client and a known role for every key")
        keys[digest] = (str(entry["client"]), str(entry["role"]))
    return keys


def seed_users() -> list[tuple[str, str, str]]:
    users = []
    for entry in document("SEED_USERS", "[]", list):
        known = isinstance(entry, dict) and entry.get("role") in ROLES and entry.get("password")
        if not known or not re.fullmatch(r"[a-z0-9_-]{1,32}", str(entry.get("username"))):
            raise refuse("SEED_USERS", "needs a username, a password and a known role for every user")
        users.append((entry["username"], entry["password"], entry["role"]))
    if len(users) > 10:
        raise refuse("SEED_USERS", "holds more than ten users")
    return users


def sqlite_path() -> str:
    scheme, _, path = text("DATABASE_URL", "sqlite:///./service.db").partition(":///")
    if scheme != "sqlite" or not path:
        raise refuse("DATABASE_URL", "must be sqlite:///path")
    return path


def redis_url() -> str:
    url = text("REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        good = urlsplit(url).scheme in {"redis", "rediss", "unix"} and urlsplit(url).port != 0
    except ValueError:
        good = False
    if not good:
        raise refuse("REDIS_URL", "is no address of a Redis")
    return url


def jwt_secret() -> str:
    secret = text("JWT_SECRET")
    if len(secret.encode()) < 32:
        raise refuse("JWT_SECRET", "is shorter than 32 bytes")
    return secret


@dataclass(frozen=True)
class Config:
    base_url: str
    provider_key: str
    model: str
    timeout: float
    body_limit: int
    keys: dict[str, tuple[str, str]]
    users: list[tuple[str, str, str]]
    database: str
    redis: str
    secret: str
    issuer: str
    audience: str
    ttl: int
    login_failures: int
    login_window: float
    limit: int
    window: float
    capacity: int
    refill: float


def load() -> Config:
    return Config(
        base_url=text("OPENAI_BASE_URL"),
        provider_key=text("OPENAI_API_KEY"),
        model=text("LLM_MODEL", "lab-large"),
        timeout=number("LLM_TIMEOUT_S", 5, 0, above=True),
        body_limit=integer("MAX_BODY_BYTES", 262144, 1024),
        keys=api_keys(),
        users=seed_users(),
        database=sqlite_path(),
        redis=redis_url(),
        secret=jwt_secret(),
        issuer=text("JWT_ISSUER"),
        audience=text("JWT_AUDIENCE"),
        ttl=int(number("JWT_TTL_S", 1800, 1)),
        login_failures=integer("LOGIN_MAX_FAILURES", 5, 1),
        login_window=number("LOGIN_WINDOW_S", 60, 1),
        limit=integer("RATE_LIMIT_REQUESTS", 10, 1),
        window=number("RATE_LIMIT_WINDOW_S", 60, 1),
        capacity=integer("BUCKET_CAPACITY", 100, 1),
        refill=number("BUCKET_REFILL_PER_S", 10, 0, above=True),
    )
