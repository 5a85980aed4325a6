"""Logs of what callers did, in sorted sets of Redis: an exact sliding window."""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .environment import Environment

LOG = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local span, most, weight = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - span)
local used = redis.call('ZCARD', KEYS[1])
if used >= most then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return {used, math.max(1, oldest[2] + span - now)}
end
if weight ~= '' then
  redis.call('ZADD', KEYS[1], now, weight)
  redis.call('PEXPIRE', KEYS[1], span)
end
return {used, 0}
"""
"""KEYS: the log. ARGV: its span in milliseconds, how many it may hold, and the entry to add."""

BUCKET = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local capacity, refill, price = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local spent, at = string.match(redis.call('GET', KEYS[1]) or '0 0', '(%S+) (%S+)')
spent = math.max(0, tonumber(spent) - (now - tonumber(at)) * refill)
local lacking = spent + price - capacity
if lacking > 0 then return {tostring(lacking / refill), tostring(capacity - spent)} end
spent = spent + price
redis.call('SET', KEYS[1], string.format('%.6f %.6f', spent, now), 'EX', math.ceil(spent / refill) + 1)
return {'0', tostring(capacity - spent)}
"""


class RedisLostError(Exception):
    """Redis refuses, hangs, or did so a moment ago."""


class Ledger:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.redis = redis.Redis.from_url(
            environment.REDIS_URL, socket_timeout=0.7, socket_connect_timeout=0.7, retry=Retry(NoBackoff(), 0)
        )
        self.log = self.redis.register_script(LOG)
        self.bucket = self.redis.register_script(BUCKET)
        self.lost_until = 0.0
        self.own = OwnLedger()

    def asked(self, operation: Callable[[], Any]) -> Any:
        if time.monotonic() < self.lost_until:
            raise RedisLostError
        try:
            return operation()
        except (redis.RedisError, OSError):
            self.lost_until = time.monotonic() + 1.5
            logging.getLogger("threads").warning("redis is lost")
            raise RedisLostError from None

    def wished(self, operation: Callable[[], Any]) -> Any:
        try:
            return self.asked(operation)
        except RedisLostError:
            return None

    def enter(self, key: str, span: float, most: int, *, add: bool = True) -> float:
        """Add an entry if there is room for one; the seconds until there is."""
        entry = uuid.uuid4().hex if add else ""
        try:
            _, wait = self.asked(lambda: self.log(keys=[key], args=[int(span * 1000), most, entry]))
        except RedisLostError:
            return self.own.enter(key, span, most, add=add)
        return float(wait) / 1000

    def request(self, caller: str) -> float:
        span, most = self.environment.RATE_LIMIT_WINDOW_S, self.environment.RATE_LIMIT_REQUESTS
        return self.enter(f"seen:{caller}", span, most)

    def failure(self, who: str, *, add: bool) -> float:
        """Seconds until a username may be tried again from an address; perhaps after one more failure."""
        span, most = self.environment.LOGIN_WINDOW_S, self.environment.LOGIN_MAX_FAILURES
        return self.enter(f"refused:{who}", span, most, add=add)

    def take(self, caller: str, tokens: int) -> tuple[int, float]:
        """Take tokens: whole seconds to wait, and what is left."""
        sizes = [self.environment.BUCKET_CAPACITY, self.environment.BUCKET_REFILL_PER_S]
        try:
            wait, left = self.asked(lambda: self.bucket(keys=[f"bucket:{caller}"], args=[*sizes, tokens]))
        except RedisLostError:
            wait, left = self.own.take(caller, sizes[0], sizes[1], tokens)
        return math.ceil(float(wait)), float(left)


class OwnLedger:
    """What this process counts while Redis is lost."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: defaultdict[str, list[float]] = defaultdict(list)
        self.spent: dict[str, tuple[float, float]] = {}

    def enter(self, key: str, span: float, most: int, *, add: bool) -> float:
        with self.lock:
            now = time.monotonic()
            if len(self.entries) > 5000:
                self.entries.clear()
            entries = self.entries[key] = [each for each in self.entries[key] if each > now - span]
            if len(entries) >= most:
                return entries[0] + span - now
            if add:
                entries.append(now)
            return 0.0

    def take(self, caller: str, capacity: float, refill: float, tokens: int) -> tuple[float, float]:
        with self.lock:
            now = time.monotonic()
            spent, at = self.spent.get(caller, (0.0, now))
            spent = max(0.0, spent - (now - at) * refill)
            if spent + tokens > capacity:
                return (spent + tokens - capacity) / refill, capacity - spent
            self.spent[caller] = spent + tokens, now
            return 0.0, capacity - spent - tokens
