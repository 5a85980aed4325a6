"""The settings a service is started with: drawn anew for each start, so that nothing can be hard-coded."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from grader.client import User
from grader.messages import nonce

CALLERS = 100
"""API keys of role user that a service is started with, unless a check needs more."""

OTHER_KEYS = {"admin": 12, "guest": 12}
ROLES_OF_USERS = ("user", "admin", "guest", "user", "admin", "user", "user", "guest", "user", "user")
"""Roles of seeded users, in the order in which a start asks for one, two, three … users."""


@dataclass(frozen=True)
class Key:
    """An API key: the secret, the client that it belongs to, and the client's role."""

    secret: str = field(repr=False)
    client: str
    role: str


@dataclass(frozen=True)
class Settings:
    """The contract's variables as given to one service, and the secrets behind them."""

    env: Mapping[str, str]
    keys: tuple[Key, ...] = field(repr=False)
    users: tuple[User, ...] = field(repr=False)

    @classmethod
    def draw(
        cls, *, users: int, changes: Mapping[str, str | None], rng: random.Random, callers: int = CALLERS
    ) -> Settings:
        """Draw limits, keys, users and secrets. ``changes`` replaces variables; ``None`` leaves one out."""
        people = tuple(_user(role) for role in ROLES_OF_USERS[:users])
        counts = {"user": callers, **OTHER_KEYS}
        keys = tuple(_key(role) for role, count in counts.items() for _ in range(count))
        env: dict[str, str] = {
            "LLM_MODEL": "lab-large",
            "LLM_FALLBACK_MODEL": "lab-small",
            "LLM_EMBED_MODEL": "lab-embed",
            "LLM_TIMEOUT_S": "5",
            "API_KEYS": json.dumps({_digest(k.secret): {"client": k.client, "role": k.role} for k in keys}),
            "SEED_USERS": json.dumps(
                [{"username": u.username, "password": u.password, "role": u.role} for u in people],
            ),
            "JWT_SECRET": secrets.token_urlsafe(36),
            "JWT_ISSUER": f"https://{nonce(6)}.example",
            "JWT_AUDIENCE": f"assistant-{nonce(5)}",
            "JWT_TTL_S": str(rng.randint(600, 3000)),
            "LOGIN_MAX_FAILURES": str(rng.randint(3, 6)),
            "LOGIN_WINDOW_S": "60",
            "RATE_LIMIT_REQUESTS": str(rng.randint(24, 36)),
            "RATE_LIMIT_WINDOW_S": "60",
            "BUCKET_CAPACITY": str(rng.randint(60, 120)),
            "BUCKET_REFILL_PER_S": str(rng.randint(5, 12)),
            "CACHE_TTL_S": "3600",
            "CACHE_STALE_TTL_S": "86400",
            "SEMANTIC_CACHE_THRESHOLD": "0",
            "BREAKER_FAILURES": "5",
            "BREAKER_COOLDOWN_S": "10",
            "MAX_BODY_BYTES": str(rng.randint(200_000, 300_000)),
            "QUEUE_MAX": "100",
            "DB_POOL_SIZE": "5",
            "DB_MAX_OVERFLOW": "5",
            "LOG_LEVEL": "INFO",
        }
        merged = {name: value for name, value in (env | dict(changes)).items() if value is not None}
        return cls(merged, keys, people)

    def integer(self, name: str) -> int:
        """Return a variable as an integer."""
        return int(self.env[name])

    @property
    def limit(self) -> int:
        """Requests per caller and window (R)."""
        return self.integer("RATE_LIMIT_REQUESTS")

    @property
    def window(self) -> float:
        """Seconds of the rate limit's window (W)."""
        return float(self.env["RATE_LIMIT_WINDOW_S"])

    @property
    def capacity(self) -> int:
        """Tokens in a full bucket."""
        return self.integer("BUCKET_CAPACITY")

    @property
    def refill(self) -> float:
        """Tokens that a bucket gains per second."""
        return float(self.env["BUCKET_REFILL_PER_S"])

    @property
    def timeout(self) -> float:
        """Seconds that a completion may take (T)."""
        return float(self.env["LLM_TIMEOUT_S"])

    @property
    def disguise(self) -> dict[str, str]:
        """What a report shows in place of each key: the key of the same role that ``course serve`` knows."""
        return {key.secret: f"lab-{key.role}-key" for key in self.keys}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(role: str) -> Key:
    return Key(secrets.token_urlsafe(24), f"{nonce(6)}-{secrets.token_hex(2)}", role)


def _user(role: str) -> User:
    return User(nonce(8), f"{nonce(6)}-{secrets.token_urlsafe(9)}", role)
