"""The reasoning of checks that count: run as they are, in a simulated world, against many right and wrong services.

A right service is never failed, however slow the machine; a wrong one never passes where the machine is quick enough
for the evidence. `REASONING_EXAMPLES=2000` tries so many random worlds for each property instead of the usual ones.
"""

from __future__ import annotations

import inspect
import math
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from grader.allowance import STARVED
from grader.checks import lab_04_rate_limiting as lab_04
from grader.checks import lab_05_caching as lab_05
from grader.expectation import Broken, Inconclusive
from grader.limited import EXPENSIVE
from grader.load import BLOCK_LEAST, BLOCK_SECONDS, LIMIT, Rig
from grader.settings import Settings
from grader.target import Block
from grader.verdict import Verdict
from tests.limiters import (
    ONE_LESS,
    ONE_MORE,
    RIGHT,
    FixedWindow,
    Late,
    Limiter,
    Make,
    SlidingLog,
    TokenBucket,
    Unlimited,
)
from tests.simulation import PACES, QUICK, Asked, Bench, Pace, World, inside

Check = Callable[..., None]
Handler = Callable[[Asked], None]
Build = Callable[[Bench, Settings, dict[str, Any]], Handler]

EXAMPLES = os.environ.get("REASONING_EXAMPLES")
SEEDS = st.integers(0, 2**32)
explored = settings(
    max_examples=int(EXAMPLES or 25), derandomize=not EXAMPLES, deadline=None, database=None, phases=[Phase.generate]
)


def judged(check: Check, build: Build, seed: int, pace: Pace) -> tuple[str, str]:
    """Run a check against a service in a world of its own; how it ended, and what it said."""
    world = World(random.Random(seed), pace)
    module = inspect.getmodule(check)
    assert module is not None
    bench = Bench(world, build, **module.lab.env)
    given = {"services": bench, "provider": bench.provider, "note": str, "saved": float}
    wanted = inspect.signature(check).parameters
    with inside(bench):
        if "api" in wanted:
            given["api"] = bench.start()
        try:
            check(**{name: value for name, value in given.items() if name in wanted})
        except Broken as broken:
            return "failed", broken.message
        except Inconclusive as unsure:
            return "inconclusive", str(unsure)
    return "passed", ""


# -- rate limits -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Builds services that limit their callers, rightly unless told otherwise."""

    allowance: Make
    bucket: Make = TokenBucket
    private: bool = False
    hasty: bool = False
    asks_first: bool = False
    gives_redis_up: float = math.inf

    def __call__(self, bench: Bench, settings: Settings, store: dict[str, Any]) -> Handler:
        world, home = bench.world, {} if self.private else store
        capacity = settings.capacity
        shared: Limiter = home.setdefault("allowance", self.allowance(settings.limit, settings.window))
        bucket: Limiter = home.setdefault("bucket", self.bucket(capacity, capacity / settings.refill))
        alone = self.allowance(settings.limit, settings.window)

        def refuse(asked: Asked, wait: float) -> None:
            asked.reply(429, {}, {"retry-after": "1" if self.hasty else str(max(1, math.ceil(wait)))})

        def spend(asked: Asked) -> None:
            wait = bucket.take(asked.caller, world.moment, int(asked.query["tokens_needed"]))
            if wait:
                return refuse(asked, wait)
            return asked.reply(200, {"remaining": bucket.left(asked.caller, world.moment)}, {})

        def chat(asked: Asked, allowance: Limiter) -> None:
            text = asked.body["message"]
            if self.asks_first:
                bench.provider.call(text, lambda _: None)
            wait = allowance.take(asked.caller, world.moment)
            if wait:
                return refuse(asked, wait)
            left = max(0, math.floor(min(allowance.left(asked.caller, world.moment), settings.limit)))
            told = {"x-ratelimit-limit": str(settings.limit), "x-ratelimit-remaining": str(left)}
            return bench.provider.call(text, lambda call: asked.reply(200, {"response": call.content}, told))

        def receive(asked: Asked) -> None:
            until_redis_answers = world.step()
            allowance = alone if until_redis_answers > self.gives_redis_up else shared
            route = {EXPENSIVE: lambda: spend(asked), "/chat": lambda: chat(asked, allowance)}
            world.after(until_redis_answers, route[asked.path])

        return receive


COUNTING: list[Check] = [
    lab_04.check_the_allowance_runs_out,
    lab_04.check_a_burst_does_not_slip_through,
    lab_04.check_replicas_share_the_allowance,
    lab_04.check_retry_after_is_a_promise,
    lab_04.check_no_moment_gives_more,
    lab_04.check_rate_headers_are_true,
    lab_04.check_the_bucket_refills,
    lab_04.check_the_bucket_is_shared,
]


NOT_DUE = {(lab_04.check_no_moment_gives_more, "fixed window on the wall clock")}
"""Twice the limit around the edge of a window is what this check is about; the others must not depend on it."""


@pytest.mark.parametrize("check", COUNTING, ids=lambda check: check.__name__.removeprefix("check_"))
@explored
@given(
    seed=SEEDS,
    pace=st.sampled_from(PACES),
    algorithm=st.sampled_from(sorted(RIGHT)),
    patience=st.sampled_from([math.inf, STARVED]),
)
def test_right_limits_are_never_failed(check: Check, seed: int, pace: Pace, algorithm: str, patience: float) -> None:
    """Some take Redis for lost when it seems not to answer, and count by themselves, as the contract wants it."""
    assume((check, algorithm) not in NOT_DUE)
    outcome, told = judged(check, Limits(RIGHT[algorithm], gives_redis_up=patience), seed, pace)
    assert outcome != "failed", told


def late(make: Make) -> Make:
    return lambda limit, window: Late(make(limit, window), lambda: 1.0)


WRONG_LIMITS: list[tuple[Check, str, Build]] = [
    *((lab_04.check_the_allowance_runs_out, f"one more, {name}", Limits(make)) for name, make in ONE_MORE.items()),
    *((lab_04.check_the_allowance_runs_out, f"one less, {name}", Limits(make)) for name, make in ONE_LESS.items()),
    (lab_04.check_the_allowance_runs_out, "unlimited", Limits(lambda *_: Unlimited())),
    (lab_04.check_the_allowance_runs_out, "asks the provider first", Limits(TokenBucket, asks_first=True)),
    *(
        (lab_04.check_a_burst_does_not_slip_through, f"late, {name}", Limits(late(make)))
        for name, make in RIGHT.items()
    ),
    *((lab_04.check_replicas_share_the_allowance, f"private, {n}", Limits(m, private=True)) for n, m in RIGHT.items()),
    (lab_04.check_replicas_share_the_allowance, "late", Limits(late(SlidingLog))),
    (lab_04.check_retry_after_is_a_promise, "hasty bucket", Limits(TokenBucket, hasty=True)),
    (lab_04.check_retry_after_is_a_promise, "hasty log", Limits(SlidingLog, hasty=True)),
    (lab_04.check_retry_after_is_a_promise, "hasty window", Limits(FixedWindow, hasty=True)),
    (lab_04.check_retry_after_is_a_promise, "counts what it refused", Limits(lambda r, w: SlidingLog(r, w, True))),
    (lab_04.check_retry_after_is_a_promise, "unlimited", Limits(lambda *_: Unlimited())),
    (lab_04.check_no_moment_gives_more, "hoards", Limits(lambda r, w: TokenBucket(r, w, True))),
    (lab_04.check_no_moment_gives_more, "wall clock", Limits(lambda r, w: FixedWindow(r, w, True))),
    (lab_04.check_rate_headers_are_true, "tells three less", Limits(lambda r, w: TokenBucket(r - 3, w))),
    (lab_04.check_the_bucket_refills, "hoards", Limits(TokenBucket, lambda r, w: TokenBucket(r, w, True))),
    (lab_04.check_the_bucket_refills, "refills twice as fast", Limits(TokenBucket, lambda r, w: TokenBucket(r, w / 2))),
    (lab_04.check_the_bucket_refills, "hasty", Limits(TokenBucket, lambda r, w: TokenBucket(r, 20 * w), hasty=True)),
    (lab_04.check_the_bucket_is_shared, "private", Limits(TokenBucket, private=True)),
    (lab_04.check_the_bucket_is_shared, "late", Limits(TokenBucket, late(TokenBucket))),
]


@pytest.mark.parametrize(
    ("check", "build"),
    [(check, build) for check, _, build in WRONG_LIMITS],
    ids=[f"{check.__name__.removeprefix('check_')}: {fault}" for check, fault, _ in WRONG_LIMITS],
)
@settings(explored, max_examples=int(EXAMPLES or 6))
@given(seed=SEEDS)
def test_wrong_limits_never_pass(check: Check, build: Build, seed: int) -> None:
    assert judged(check, build, seed, QUICK)[0] != "passed"


# -- caches ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caching:
    """Builds services that remember answers, rightly unless told otherwise."""

    key: Callable[[Asked, Settings], object] = lambda asked, settings: (
        asked.caller,
        asked.body["message"].strip(),
        asked.body.get("temperature", 0.7),
        settings.env["LLM_MODEL"],
    )
    lifetime: Callable[[Settings], float] = lambda settings: settings.integer("CACHE_TTL_S")
    private: bool = False
    each_alone: bool = False
    forgets: float = 0.0
    boasts: bool = False
    free_hits: bool = False
    allowance: Make = TokenBucket

    def __call__(self, bench: Bench, settings: Settings, store: dict[str, Any]) -> Handler:
        world, home = bench.world, {} if self.private else store
        answers: dict[object, tuple[float, str]] = home.setdefault("answers", {})
        flights: dict[object, list[Callable[[str, bool], None]]] = {}
        limiter: Limiter = home.setdefault("allowance", self.allowance(settings.limit, settings.window))

        def chat(asked: Asked) -> None:
            key = self.key(asked, settings)
            until, content = answers.get(key, (0.0, ""))
            hit = until > world.now and world.chance.random() >= self.forgets
            wait = 0.0 if hit and self.free_hits else limiter.take(asked.caller, world.moment)
            if wait:
                return asked.reply(429, {}, {"retry-after": str(max(1, math.ceil(wait)))})

            def reply(text: str, cached: bool) -> None:
                told = {"response": text, "from_cache": cached, "tokens_used": 7, "model": settings.env["LLM_MODEL"]}
                asked.reply(200, told, {"x-cache": "HIT" if cached else "MISS"})

            if hit:
                return ask(key, asked, lambda: reply(content, True)) if self.boasts else reply(content, True)
            if key in flights and not self.each_alone:
                return flights[key].append(reply)
            flights.setdefault(key, []).append(reply)
            return ask(key, asked, lambda: None)

        def ask(key: object, asked: Asked, then: Callable[[], None]) -> None:
            def arrived(call: Any) -> None:
                answers[key] = (world.now + self.lifetime(settings), call.content)
                for number, waiting in enumerate(flights.pop(key, [])):
                    waiting(call.content, number > 0)
                then()

            bench.provider.call(asked.body["message"].strip(), arrived)

        return lambda asked: world.after(world.step(), lambda: chat(asked))


REMEMBERING: list[Check] = [
    lab_05.check_same_question_is_a_hit,
    lab_05.check_different_questions_differ,
    lab_05.check_replicas_share_answers,
    lab_05.check_answers_expire,
    lab_05.check_simultaneous_questions_share_one_call,
    lab_05.check_hits_count_against_the_limit,
    lab_05.check_hit_rate,
]


@pytest.mark.parametrize("check", REMEMBERING, ids=lambda check: check.__name__.removeprefix("check_"))
@explored
@given(seed=SEEDS, pace=st.sampled_from(PACES), algorithm=st.sampled_from(sorted(RIGHT)))
def test_right_caches_are_never_failed(check: Check, seed: int, pace: Pace, algorithm: str) -> None:
    outcome, told = judged(check, Caching(allowance=RIGHT[algorithm]), seed, pace)
    assert outcome != "failed", told


def without(part: int) -> Caching:
    """Return a cache that leaves one of four things out of its keys."""
    whole = Caching().key

    def key(asked: Asked, settings: Settings) -> object:
        parts = list(whole(asked, settings))  # type: ignore[call-overload]
        return (*parts[:part], *parts[part + 1 :])

    return Caching(key=key)


WRONG_CACHES: list[tuple[Check, str, Caching]] = [
    (lab_05.check_same_question_is_a_hit, "never remembers", Caching(forgets=1.0)),
    (lab_05.check_same_question_is_a_hit, "says hit, and asks", Caching(boasts=True)),
    (lab_05.check_same_question_is_a_hit, "remembers blanks", Caching(lambda asked, _: asked.body["message"])),
    (lab_05.check_different_questions_differ, "whoever asks", without(0)),
    (lab_05.check_different_questions_differ, "whatever the temperature", without(2)),
    (lab_05.check_replicas_share_answers, "whatever the model", without(3)),
    (lab_05.check_replicas_share_answers, "private", Caching(private=True)),
    (lab_05.check_answers_expire, "for ever", Caching(lifetime=lambda _: math.inf)),
    (lab_05.check_answers_expire, "as long as stale ones", Caching(lifetime=lambda s: s.integer("CACHE_STALE_TTL_S"))),
    (lab_05.check_simultaneous_questions_share_one_call, "each alone", Caching(each_alone=True)),
    (lab_05.check_hits_count_against_the_limit, "hits are free", Caching(free_hits=True)),
    (lab_05.check_hit_rate, "forgets a fifth", Caching(forgets=0.2)),
    (lab_05.check_hit_rate, "never remembers", Caching(forgets=1.0)),
]


@pytest.mark.parametrize(
    ("check", "build"),
    [(check, build) for check, _, build in WRONG_CACHES],
    ids=[f"{check.__name__.removeprefix('check_')}: {fault}" for check, fault, _ in WRONG_CACHES],
)
@settings(explored, max_examples=int(EXAMPLES or 6))
@given(seed=SEEDS)
def test_wrong_caches_never_pass(check: Check, build: Caching, seed: int) -> None:
    assert judged(check, build, seed, QUICK)[0] != "passed"


# -- speed -------------------------------------------------------------------------------------------------------------


class DrawnRig(Rig):
    """A rig whose blocks are drawn instead of measured, on a machine that is now quick and now slow."""

    def __init__(self, seed: int, seconds: float, times: float, unrest: float) -> None:
        super().__init__(cast("Any", "own"), cast("Any", "reference"), cast("Any", None))
        self.chance, self.seconds, self.times, self.unrest = random.Random(seed), seconds, times, unrest
        self.slowness = 1.0

    def find_rate(self) -> None:
        self.rate = BLOCK_LEAST / BLOCK_SECONDS

    def steady(self, target: object) -> Block:
        self.slowness = self.slowness**0.7 * self.chance.lognormvariate(0, self.unrest)
        mean = self.seconds * self.slowness * (self.times if target == "own" else 1.0)
        beyond = [self.chance.expovariate(1 / mean) for _ in range(BLOCK_LEAST)]
        spikes = [self.chance.expovariate(2) if self.chance.random() < self.unrest / 20 else 0.0 for _ in beyond]
        return Block((), tuple(map(sum, zip(beyond, spikes, strict=True))), 0.01)


def races(count: int, seconds: float, times: float, unrest: float) -> Counter[Verdict]:
    """Race a service that is so many times slower than the reference, which takes so many seconds in the mean."""
    return Counter(DrawnRig(seed, seconds, times, unrest).race() for seed in range(int(EXAMPLES or count)))


@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.06, 0.2])
@pytest.mark.parametrize("unrest", [0.01, 0.3, 0.8])
def test_who_is_as_quick_as_the_reference_is_never_called_slow(seconds: float, unrest: float) -> None:
    found = races(300, seconds, 1.0, unrest)
    assert found[Verdict.BAD] == 0
    if 3 * seconds < LIMIT and unrest < 0.1:
        assert found[Verdict.GOOD] == found.total()


@pytest.mark.parametrize(
    ("seconds", "times"),
    [(0.1, 3.0), (0.06, 4.0), (0.02, 15.0), (0.005, 60.0)],
)
@pytest.mark.parametrize("unrest", [0.01, 0.3])
def test_who_is_slower_than_is_allowed_never_passes(seconds: float, times: float, unrest: float) -> None:
    assert races(300, seconds, times, unrest)[Verdict.GOOD] == 0
