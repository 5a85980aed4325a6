"""Requests counted in windows instead of a bucket; tokens of work in a bucket that is kept as level and time."""

from __future__ import annotations

from collections.abc import Sequence

from app.buckets import Bucket, Taken
from app.shared import Shared

LOOKS = {
    # When each request came; what is older than a window is forgotten.
    "sliding log": """
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - window)
local count = redis.call('ZCARD', KEYS[1])
rest = limit - count
if rest < 1 then
  wait = tonumber(redis.call('ZRANGE', KEYS[1], count - limit, count - limit, 'WITHSCORES')[2]) + window - now
end
take = function()
  redis.call('ZADD', KEYS[1], now, string.format('%.3f %d', now, count))
  redis.call('PEXPIRE', KEYS[1], math.ceil(window))
end
""",
    # One number for a window that begins with the caller's first request in it.
    "fixed window": """
local left_of_it = redis.call('PTTL', KEYS[1])
rest = limit - tonumber(redis.call('GET', KEYS[1]) or 0)
if rest < 1 then wait = math.max(1, left_of_it) end
take = function()
  if redis.call('INCR', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], math.ceil(window)) end
end
""",
    # Two numbers: this window's, and that part of the last one's which still lies in the window before now.
    "sliding counter": """
local slot, part = math.floor(now / window), (now % window) / window
local this, last = KEYS[1] .. slot, KEYS[1] .. (slot - 1)
local count, before = tonumber(redis.call('GET', this) or 0), tonumber(redis.call('GET', last) or 0)
rest = math.ceil(limit - count - before * (1 - part))
if rest < 1 then
  wait = count < limit and (1 - (limit - count) / before - part) * window or (1 - part) * window
  wait = wait + 2
end
take = function()
  redis.call('INCR', this)
  redis.call('PEXPIRE', this, math.ceil(2 * window))
end
""",
}

SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local wait, take, rest, left = 0, nil, 0, {}
if ARGV[1] ~= '0' then
  local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000
%s
  table.insert(left, rest)
end
local level, work
if ARGV[3] ~= '0' then
  work = KEYS[#KEYS]
  local capacity, refill, tokens = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local kept = redis.call('HMGET', work, 'level', 'at')
  level = tonumber(kept[1] or capacity) + math.max(0, now - tonumber(kept[2] or now)) / 1000 * refill
  level = math.min(capacity, level)
  wait = math.max(wait, (tokens - level) * 1000 / refill - 0.1)
  if wait <= 0 then level = level - tokens end
  table.insert(left, level)
end
if wait <= 0 then
  if take then
    take()
    left[1] = left[1] - 1
  end
  if work then
    redis.call('HSET', work, 'level', string.format('%%.9f', level), 'at', string.format('%%.3f', now))
    redis.call('PEXPIRE', work, math.ceil(ARGV[3] / ARGV[4] * 1000) + 1000)
  end
end
for i, number in ipairs(left) do left[i] = string.format('%%.6f', number) end
return {string.format('%%.6f', math.max(0, wait) / 1000), left}
"""


class WindowedBuckets:
    """The limits of all replicas, by one of `LOOKS`."""

    def __init__(self, shared: Shared, look: str) -> None:
        self._shared = shared
        self._script = shared.script(SCRIPT % LOOKS[look])

    async def take(self, wanted: Sequence[Bucket]) -> Taken:
        requests = [bucket for bucket in wanted if bucket.key.endswith(":requests")]
        work = [bucket for bucket in wanted if bucket not in requests]
        arguments = [number for bucket in requests for number in (bucket.capacity, bucket.capacity / bucket.refill)]
        arguments = arguments or [0, 0]
        arguments += [number for bucket in work for number in (bucket.capacity, bucket.refill, bucket.tokens)] or [0]
        wait, left = await self._shared.run(self._script, [bucket.key for bucket in [*requests, *work]], arguments)
        return Taken(float(wait), [float(number) for number in left])
