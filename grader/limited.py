"""Limited: callers who use up what they have, and the services that lab 4 has beside its main one."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from grader.allowance import Tally, clear_of_boundary, retry_after
from grader.api import Api
from grader.bench import Bench
from grader.client import Caller
from grader.exchange import Exchange
from grader.expectation import Inconclusive, demand, expect
from grader.messages import nonce
from grader.refusals import BadSetting, refuses_settings

EXPENSIVE = "/expensive-operation"

LONG = "600"
"""Seconds of a window in which a caller gains a request every 20 s or so."""


def rate(api: Api) -> float:
    """Requests per second that a caller's allowance may grow by."""
    return api.settings.limit / api.settings.window


def spend(caller: Caller, tokens: object) -> Exchange:
    """POST /expensive-operation."""
    return caller.post(EXPENSIVE, params={"tokens_needed": tokens})


def exhaust(api: Api, caller: Caller, how: str = "one after another") -> Tally:
    """Send some more requests than the limit, and verify what passed."""
    clear_of_boundary(api.settings.window)
    tally = Tally.of([caller.chat() for _ in range(api.settings.limit + 2)])
    tally.verify(api.settings.limit, rate(api), how, window=api.settings.window)
    return tally


def knock(api: Api, caller: Caller) -> Exchange:
    """Send requests, at least some more than twice the limit, until one is refused, and return that refusal.

    On a slow machine the last of a fixed number might be the one for which another token has just come.
    """
    limit, began = api.settings.limit, time.monotonic()
    tries = [caller.chat() for _ in range(2 * limit + 4)]
    while tries[-1].status == 200:
        passed, elapsed = Tally.of(tries).passed, time.monotonic() - began
        said = f"{len(passed)} requests passed within {elapsed:.1f} s, and the last one too."
        demand(len(passed) <= 2 * limit + elapsed * rate(api), said, tries[-1:])
        if elapsed > 4 * api.settings.window:
            raise Inconclusive("The machine is so busy that a caller gains requests faster than they can be sent.")
        tries.append(caller.chat())
    verify_refusals(api, Tally.of(tries).refused)
    return tries[-1]


def verify_refusals(api: Api, refused: Iterable[Exchange]) -> None:
    """Every refusal says how many seconds to wait, 1 to W + 1."""
    for exchange in refused:
        retry_after(exchange, math.floor(api.settings.window + 1))


def visit(api: Api) -> None:
    """Let a new caller use up the allowance and the bucket, and somebody fail to log in until it is throttled."""
    caller, username = api.new_caller(), nonce(8)
    answers = [caller.chat() for _ in range(7)]
    demand(any(one.status == 429 for one in answers), "Of 7 requests at a limit of 2 none was refused.", answers[-1:])
    for tokens in (api.settings.capacity, api.settings.capacity):
        expect(spend(caller, tokens)).status(200, 429)
    for _ in range(3):
        refused = api.anonymous.post("/login", data={"username": username, "password": nonce()})
        expect(refused).status(401, 429)


def pair(services: Bench) -> tuple[Api, Api]:
    """Two replicas."""
    one, two = services.replicas(2, RATE_LIMIT_WINDOW_S=LONG)
    return one, two


@dataclass(frozen=True)
class Brisk:
    """A service whose windows end soon, and a caller who has paused since the lab began."""

    api: Api
    idle: Caller
    since: float


def brisk(services: Bench) -> Brisk:
    """Start it."""
    api = services.start(
        RATE_LIMIT_REQUESTS="2",
        RATE_LIMIT_WINDOW_S="3.2",
        LOGIN_MAX_FAILURES="2",
        LOGIN_WINDOW_S="20",
        CACHE_TTL_S="30",
        CACHE_STALE_TTL_S="30",
    )
    idle = api.new_caller()
    expect(idle.chat()).status(200)
    return Brisk(api, idle, time.monotonic())


def misconfigured(services: Bench) -> None:
    """Services that must not start."""
    odd = nonce(20)
    settings = [
        BadSetting("RATE_LIMIT_REQUESTS", "0", "0"),
        BadSetting("RATE_LIMIT_WINDOW_S", odd, "no number", odd),
        BadSetting("BUCKET_CAPACITY", "2.5", "no integer"),
        BadSetting("BUCKET_REFILL_PER_S", "0", "0"),
        BadSetting("REDIS_URL", odd, "no address", odd),
    ]
    refuses_settings(services, settings)
