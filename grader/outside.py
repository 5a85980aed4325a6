"""Outside: a service that somebody else has started, judged by what can be seen of it from there (`grade --target`).

What a check needs beyond that (the processes, Redis, the databases, other settings, a restart) is missing here: the
check is skipped and says so. It never fails for lack of sight.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from grader.client import User
from grader.expectation import Skip
from grader.provider import Provider
from grader.provider.address import ProviderAddress
from grader.provider.ledger import Bill
from grader.provider.server import LEARNER_KEY
from grader.settings import Key

if TYPE_CHECKING:
    from grader import wire

DEFAULTS = {
    "LLM_MODEL": "lab-large",
    "LLM_FALLBACK_MODEL": "lab-small",
    "LLM_EMBED_MODEL": "lab-embed",
    "LLM_TIMEOUT_S": "5",
    "JWT_TTL_S": "1800",
    "LOGIN_MAX_FAILURES": "5",
    "LOGIN_WINDOW_S": "60",
    "RATE_LIMIT_REQUESTS": "10",
    "RATE_LIMIT_WINDOW_S": "60",
    "BUCKET_CAPACITY": "100",
    "BUCKET_REFILL_PER_S": "10",
    "CACHE_TTL_S": "3600",
    "CACHE_STALE_TTL_S": "86400",
    "SEMANTIC_CACHE_THRESHOLD": "0",
    "BREAKER_FAILURES": "5",
    "BREAKER_COOLDOWN_S": "10",
    "MAX_BODY_BYTES": "262144",
    "QUEUE_MAX": "100",
    "DB_POOL_SIZE": "5",
    "DB_MAX_OVERFLOW": "5",
}
"""What a service does for which nothing else is said (the contract's table)."""

MANY = 1e9
SPANS: dict[str, tuple[float, float]] = {
    "LLM_TIMEOUT_S": (5, 5),
    "JWT_TTL_S": (600, 3000),
    "LOGIN_MAX_FAILURES": (3, 6),
    "LOGIN_WINDOW_S": (60, 60),
    "RATE_LIMIT_REQUESTS": (24, 36),
    "RATE_LIMIT_WINDOW_S": (60, 600),
    "BUCKET_CAPACITY": (60, 120),
    "BUCKET_REFILL_PER_S": (5, 12),
    "CACHE_TTL_S": (3600, 3600),
    "SEMANTIC_CACHE_THRESHOLD": (0, 0),
    "BREAKER_FAILURES": (5, MANY),
    "MAX_BODY_BYTES": (200_000, 300_000),
}
"""Between what the checks count on each of these, unless their lab asks for a value of its own."""

REST_S = 700.0
"""Seconds after which a caller has its whole allowance again, with the longest window that a lab asks for."""


class TargetError(Exception):
    """The target cannot be graded; the message says what to do."""


def unseen(what: str) -> NoReturn:
    """Skip the check: what it needs is out of sight."""
    raise Skip(f"It needs {what}, which cannot be seen or changed from outside.")


class Unseen:
    """Stands where something would be that is out of sight: whoever touches it is skipped."""

    def __init__(self, what: str, **known: object) -> None:
        self._what = what
        vars(self).update(known)

    @property  # type: ignore[misc]
    def __class__(self) -> NoReturn:  # type: ignore[override]
        """Out of sight, too: a check that asks what kind of thing this is goes on with the answer."""
        unseen(self._what)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        unseen(self._what)


class Known(dict[str, str]):
    """Settings of the target as far as they are known; what is asked for beyond is out of sight."""

    def __missing__(self, name: str) -> NoReturn:
        unseen(f"the target's {name}")


class SharedProvider(Provider):
    """The provider of the target, which takes every key: its ledger is read, and what is scripted holds for all."""

    def __init__(self, address: ProviderAddress, base_url: str) -> None:
        super().__init__(address, base_url, LEARNER_KEY)
        self._before = super().bill()

    def bill(self) -> Bill:
        """Add up what was paid since this was made."""
        now, before = super().bill(), self._before
        return Bill(*(getattr(now, name) - getattr(before, name) for name in Bill.__dataclass_fields__))


@dataclass(frozen=True)
class Target:
    """Where the service is, who may call it, and how it was set up."""

    address: wire.Address
    env: Mapping[str, str]
    keys: tuple[Key, ...]
    users: tuple[User, ...]
    control: ProviderAddress | None = None

    @classmethod
    def of(cls, url: str, values: Mapping[str, str], provider: str | None) -> Target:
        """Read what a stack's `.env` says. Raises ``TargetError``."""
        place = _address(url)
        named = [each.partition(":") for each in values.get("GRADE_API_KEYS", "").split(",") if ":" in each]
        if not named:
            raise TargetError("no callers are known; GRADE_API_KEYS=role:key,… in the env file names them")
        keys = tuple(Key(secret, f"caller-{number}", role) for number, (role, _, secret) in enumerate(named))
        people = json.loads(values.get("SEED_USERS") or "[]")
        users = tuple(User(each["username"], each["password"], each["role"]) for each in people)
        control = None
        if provider:
            host, port = _address(provider)
            control = ProviderAddress(port, values.get("PROVIDER_TOKEN", ""), host=host)
        env = Known(DEFAULTS | {name: value for name, value in values.items() if value})
        return cls(place, env, keys, users, control)

    def provider(self) -> Provider:
        """Return a hand on the model provider, or what stands for one out of sight."""
        if self.control is None:
            nothing = Unseen("the model provider's ledger (--provider names its control port)", bill=Bill)
            return cast("Provider", nothing)
        return SharedProvider(self.control, f"http://{self.control.host}/v1")

    def unfit(self, wanted: Mapping[str, str]) -> str:
        """Say which setting the checks of a lab cannot do with; nothing when all are right."""
        for name, span in SPANS.items():
            low, high = _span(name, span, wanted)
            if not low <= float(self.env[name]) <= high:
                fit = f"{low:g}" if low == high else f"{low:g} to {high:g}" if high < MANY else f"{low:g} or more"
                return f"Its checks count on {name}={fit}, and the target has {self.env[name]}: change it in .env."
        if int(self.env.get("API_REPLICAS") or 1) > 1:
            return "Several replicas count for themselves what its checks count: they need API_REPLICAS=1."
        return ""


def _address(url: str) -> wire.Address:
    found = urllib.parse.urlsplit(url)
    try:
        port = found.port or 80
    except ValueError:
        port = 0
    if found.scheme != "http" or not found.hostname or not port or found.path.strip("/"):
        raise TargetError(f"{url} is no address that can be graded; it looks like http://127.0.0.1:8080")
    return found.hostname, port


def _span(name: str, usual: tuple[float, float], wanted: Mapping[str, str]) -> tuple[float, float]:
    if name not in wanted:
        return usual
    value = float(wanted[name])
    return value, MANY if name == "BREAKER_FAILURES" else value


class Memory:
    """Who called which target lately, kept from run to run: such callers have spent some of their allowance."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._used: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError):
            self._used = json.loads(path.read_text(encoding="utf-8"))

    def rested(self, target: Target) -> Target:
        """Leave out keys used lately, and users who were ever used: they may be deleted by now."""
        now = time.time()
        keys = tuple(key for key in target.keys if now - self._used.get(_digest(key.secret), 0) > REST_S)
        users = tuple(user for user in target.users if _digest(user.password) not in self._used)
        return replace(target, keys=keys, users=users)

    def note(self, secrets: Iterable[str]) -> None:
        """Remember who has called now; written as digests."""
        self._used |= {_digest(secret): time.time() for secret in secrets}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._used), encoding="utf-8")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:16]
