"""Logs of what callers did, in sorted sets of Redis: an exact sliding window."""

from __future__ import annotations

import math
import uuid

import redis

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


class Ledger:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.redis = redis.Redis.from_url(environment.REDIS_URL, socket_timeout=5)
        self.log = self.redis.register_script(LOG)
        self.bucket = self.redis.register_script(BUCKET)

    def enter(self, key: str, span: float, most: int, *, add: bool = True) -> float:
        """Add an entry if there is room for one; the seconds until there is."""
        entry = uuid.uuid4().hex if add else ""
        _, wait = self.log(keys=[key], args=[int(span * 1000), most, entry])
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
        wait, left = self.bucket(keys=[f"bucket:{caller}"], args=[*sizes, tokens])
        return math.ceil(float(wait)), float(left)
