"""The login throttle: after some failures for a name from an address comes a pause, at all replicas (section 3)."""

from __future__ import annotations

import hashlib
import time  # SOLUTION 7
from typing import TYPE_CHECKING, Protocol

from app.errors import SharedDown  # SOLUTION 7

if TYPE_CHECKING:
    from app.settings import Settings
    from app.shared import Shared


class Throttle(Protocol):
    """Counts failures by key; both methods return for how many seconds the key is shut, 0 if it is not."""

    async def wait(self, key: str) -> float:
        """Look."""

    async def fail(self, key: str) -> float:
        """Count a failure, unless the key is shut already."""


def throttle_key(username: str, address: str) -> str:
    """Return the key for a name, as it was typed, and an address; a hash, for it may be long or odd."""
    return hashlib.sha256(f"{address} {username}".encode(errors="replace")).hexdigest()


# BEGIN SOLUTION 3: Count in Redis, in one script, so that of many tries at once none slips through between two steps.
SCRIPT = """
local failures = tonumber(redis.call('GET', KEYS[1]) or 0)
if failures >= tonumber(ARGV[1]) then return redis.call('PTTL', KEYS[1]) end
if ARGV[3] == '1' and redis.call('INCR', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
"""KEYS: the counter. ARGV: failures allowed, window in milliseconds, whether to count one.

The window begins with the first failure; a success changes nothing."""


class SharedThrottle:
    """The throttle of all replicas."""

    def __init__(self, shared: Shared, settings: Settings) -> None:
        self._shared = shared
        self._script = shared.script(SCRIPT)
        self._allowance = [settings.login_max_failures, int(settings.login_window_s * 1000)]

    async def wait(self, key: str) -> float:
        """Return for how many seconds the key is shut."""
        return await self._run(key, count=0)

    async def fail(self, key: str) -> float:
        """Count a failure, unless the key is shut already."""
        return await self._run(key, count=1)

    async def _run(self, key: str, count: int) -> float:
        milliseconds: int = await self._shared.run(self._script, [f"login:{key}"], [*self._allowance, count])
        return milliseconds / 1000


# END SOLUTION


# BEGIN SOLUTION 7: Count in this process while Redis is away, or anybody could guess until it is back.
class LocalThrottle:
    """The throttle of one process."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = settings.login_max_failures
        self._window = settings.login_window_s
        self._failures: dict[str, tuple[int, float]] = {}  # how many, and when the window is over

    async def wait(self, key: str) -> float:
        """Return for how many seconds the key is shut."""
        failures, until = self._failures.get(key, (0, 0.0))
        return max(0.0, until - time.monotonic()) if failures >= self._allowed else 0.0

    async def fail(self, key: str) -> float:
        """Count a failure, unless the key is shut already."""
        if wait := await self.wait(key):
            return wait
        now = time.monotonic()
        self._failures = {k: v for k, v in self._failures.items() if v[1] > now}
        failures, until = self._failures.get(key, (0, now + self._window))
        self._failures[key] = failures + 1, until
        return 0.0


class FallbackThrottle:
    """The throttle of all replicas or, while Redis is away, that of this process."""

    def __init__(self, shared: Throttle, local: Throttle) -> None:
        self._shared = shared
        self._local = local

    async def wait(self, key: str) -> float:
        """Return for how many seconds the key is shut."""
        try:
            return await self._shared.wait(key)
        except SharedDown:
            return await self._local.wait(key)

    async def fail(self, key: str) -> float:
        """Count a failure, unless the key is shut already."""
        try:
            return await self._shared.fail(key)
        except SharedDown:
            return await self._local.fail(key)


# END SOLUTION


def survivable(shared: Throttle, settings: Settings) -> Throttle:
    """Return a throttle that outlives Redis."""
    # BEGIN SOLUTION 7: Fall back on that of this process.
    #: return shared
    return FallbackThrottle(shared, LocalThrottle(settings))
    # END SOLUTION
