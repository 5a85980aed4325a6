"""Target: a service under load, what it is asked, and what came of a block of requests."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grader.generator import Result, Shot
from grader.messages import nonce
from grader.usage import Usage, usage_of
from grader.verdict import percentile

if TYPE_CHECKING:
    from grader.bench import Bench

CALLERS = 240
LATENCY = 0.04
"""Seconds that the provider takes."""

PAUSE_S = 0.1
REST_LIMIT = 50
"""Pauses after which the next block begins although the service is still busy."""

SETTINGS: dict[str, str | None] = {
    "RATE_LIMIT_REQUESTS": "1000000",
    "LLM_TIMEOUT_S": "60",
    "BREAKER_FAILURES": "1000000",
}


@dataclass(frozen=True)
class Block:
    """Requests sent together: what came of each, seconds beyond the provider's own time, processor time of one."""

    results: tuple[Result, ...]
    beyond: tuple[float, ...]
    cpu: float

    @property
    def p95(self) -> float:
        """What the slowest twentieth begins at, in seconds beyond the provider's own time."""
        return percentile(self.beyond, 0.95)

    @property
    def rate(self) -> float:
        """Requests that were answered in a second."""
        begun, ended = min(one.sent for one in self.results), max(one.finished for one in self.results)
        return sum(one.status == 200 for one in self.results) / (ended - begun)


class Target:
    """A service under load, with provider accounts and callers of its own."""

    def __init__(self, bench: Bench) -> None:
        bench.callers = CALLERS
        self.api = bench.start(users=0, database="sqlite", **SETTINGS)
        self.provider = bench.provider
        self.provider.latency(LATENCY)
        self.keys = [self.api.new_caller().headers["X-API-Key"] for _ in range(CALLERS)]
        self.asked = 0
        self.readings: list[tuple[int, Usage, int]] = []

    def shots(self, count: int, *, users: int, rate: float = math.inf, questions: int = 0) -> tuple[str, list[Shot]]:
        """Lay out chats, and the tag in them: at a rate, or each user's one after another.

        Callers take turns; there are as many questions as chats unless told otherwise.
        """
        tag = nonce()
        texts = [f"{tag} Tell me about lot {n % (questions or count)}." for n in range(count)]
        keys = [self.keys[n % (questions or CALLERS) % CALLERS] for n in range(count)]
        return tag, [
            Shot(n % users, n / rate, keys[n], "/chat", json.dumps({"message": texts[n]})) for n in range(count)
        ]

    def come_to_rest(self) -> None:
        """Wait, for a while, until the service does nothing more: its left-overs would slow the other's block."""
        pid = self.api.service.process.pid
        for _ in range(REST_LIMIT):
            before = usage_of(pid).cpu
            time.sleep(PAUSE_S)
            if usage_of(pid).cpu - before < PAUSE_S / 4:
                return

    def read(self) -> None:
        """Note what the service holds after so many requests: usage, and connections to Redis."""
        number = self.api.settings.env["REDIS_URL"].rpartition("/")[2]
        clients = self.api.redis.client_list()
        connections = sum(client["db"] == number for client in clients)
        self.readings.append((self.asked, usage_of(self.api.service.process.pid), connections))
