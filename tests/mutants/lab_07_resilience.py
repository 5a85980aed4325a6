"""Faults of lab 7, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_07_resilience import (
    check_breaker_counts_in_a_row,
    check_breaker_opens,
    check_breaker_sends_one_probe,
    check_database_loss_is_survived,
    check_deadlines_hold,
    check_errors_are_problems,
    check_fallback_answers,
    check_hopeless_calls_are_not_repeated,
    check_open_streams_end_with_an_error,
    check_redis_loss_is_survived,
    check_slow_model_is_given_up,
    check_stale_answers_help,
    check_stalled_streams_end,
    check_starts_without_its_dependencies,
    check_streams_fall_back,
    check_total_failure_is_503,
)
from tests.mutants import Mutant

DRAIN = "app/drain.py"
GIVE_UP = "            async with asyncio.timeout(within or self._patience):\n                reply"
MODEL = "app/model.py"
NO_MODEL = 'return problem(503, "No model answers at the moment.", wait)'
PROBLEMS = "app/problems.py"
BREAKER = "app/breaker.py"
RESILIENCE = "app/resilience.py"
SHARED = "app/shared.py"
STATUS = "        if status < 500 and status != 429:\n"

MUTANTS = [
    Mutant(
        "sends errors as plain JSON",
        PROBLEMS,
        ', media_type="application/problem+json")',
        ")",
        {check_errors_are_problems},
    ),
    Mutant(
        "leaves out the request id",
        PROBLEMS,
        '"request_id": request_id.current()}',
        '"request_id": ""}',
        {check_errors_are_problems},
    ),
    Mutant(
        "tells another status than it has",
        PROBLEMS,
        '"title": title, "status": status,',
        '"title": title, "status": 500,',
        {check_errors_are_problems},
    ),
    Mutant(
        "leaves 404 and 405 to the framework",
        PROBLEMS,
        "    @app.exception_handler(HTTPException)\n    async def refused",
        "    async def refused",
        {check_errors_are_problems},
    ),
    Mutant(
        "has no second model",
        RESILIENCE,
        "        except ModelUnavailable as error:\n            first = error\n        try:\n            return replace(",
        "        except ModelUnavailable:\n            raise\n        try:\n            return replace(",
        {check_fallback_answers},
    ),
    Mutant(
        "does not say that an answer is degraded",
        RESILIENCE,
        "within=min(within, self._time())), degraded=True)",
        "within=min(within, self._time())))",
        {check_fallback_answers},
    ),
    Mutant(
        "calls all answers degraded",
        "app/cache.py",
        "return self.completion.degraded or self.source is Source.STALE",
        "return True",
        {check_fallback_answers},
    ),
    Mutant(
        "does not fall back when it is told to wait",
        MODEL,
        STATUS,
        "        if status < 500:\n",
        {check_fallback_answers},
    ),
    Mutant(
        "takes an empty answer for one",
        MODEL,
        "if not text or usage is None:",
        "if usage is None:",
        {check_fallback_answers},
    ),
    Mutant(
        "makes up the usage that is missing",
        MODEL,
        "        if not text or usage is None:\n            raise",
        '        usage = usage or {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}\n        if not text:\n            raise',
        {check_fallback_answers},
    ),
    Mutant(
        "asks again and again",
        RESILIENCE,
        "ATTEMPTS = 2\n",
        "ATTEMPTS = 12\n",
        {check_fallback_answers, check_total_failure_is_503},
    ),
    Mutant(
        "does not read the time-out",
        "app/settings.py",
        "llm_timeout_s: Positive = 5.0",
        'llm_timeout_s: Annotated[float, Field(validation_alias="LLM_PATIENCE")] = 6.0',
        {check_slow_model_is_given_up, check_deadlines_hold, check_stalled_streams_end},
    ),
    Mutant(
        "lets streams fail with their model",
        RESILIENCE,
        "            if begun:\n                raise\n            first = error\n",
        "            raise\n            first = error\n",
        {check_streams_fall_back},
    ),
    Mutant(
        "apologizes with 200",
        PROBLEMS,
        NO_MODEL,
        'return JSONResponse({"response": "Sorry.", "tokens_used": 0})',
        {check_total_failure_is_503},
    ),
    Mutant(
        "does not say when to come back",
        PROBLEMS,
        NO_MODEL,
        'return problem(503, "No model answers at the moment.")',
        {check_total_failure_is_503},
    ),
    Mutant(
        "says when to come back as a decimal",
        PROBLEMS,
        "str(max(1, math.ceil(error.retry_after)))",
        'f"{error.retry_after:.1f}"',
        {check_total_failure_is_503},
    ),
    Mutant(
        "answers 500 when no model answers",
        PROBLEMS,
        NO_MODEL,
        'return problem(500, "No model answers.", wait)',
        {check_total_failure_is_503},
    ),
    Mutant(
        "repeats what the provider calls wrong",
        MODEL,
        STATUS,
        "        if status < 0:\n",
        {check_hopeless_calls_are_not_repeated, check_breaker_opens},
    ),
    Mutant(
        "forgets answers that are too old to be fresh",
        RESILIENCE,
        "            if earlier := await self._answers.earlier(caller, prompt):\n                return earlier\n",
        "",
        {check_stale_answers_help},
    ),
    Mutant(
        "serves old answers as fresh ones",
        "app/cache.py",
        "Answer(kept.completion, Source.STALE)",
        "Answer(kept.completion, Source.HIT)",
        {check_stale_answers_help},
    ),
    Mutant(
        "never leaves a failing model alone",
        BREAKER,
        "            self._failed += fair\n",
        "            self._failed = 0\n",
        {check_breaker_opens},
    ),
    Mutant(
        "counts failures over all time",
        BREAKER,
        "        else:\n            self._failed = 0\n",
        "        else:\n            self._failed += 0\n",
        {check_breaker_counts_in_a_row},
    ),
    Mutant(
        "lets everybody probe at once",
        BREAKER,
        "        if wait > 0 or self._probed:\n",
        "        if wait > 0:\n",
        {check_breaker_sends_one_probe},
    ),
    Mutant(
        "probes before the cool-down is over",
        BREAKER,
        "time.monotonic() + self._cooldown",
        "time.monotonic() + self._cooldown / 3",
        {check_breaker_sends_one_probe},
    ),
    Mutant(
        "never tries again",
        BREAKER,
        "time.monotonic() + self._cooldown",
        "time.monotonic() + 1e6",
        {check_breaker_sends_one_probe},
    ),
    Mutant(
        "waits long for Redis", SHARED, "ANSWER_WITHIN_S = 0.8", "ANSWER_WITHIN_S = 8.0", {check_redis_loss_is_survived}
    ),
    Mutant(
        "fails with Redis",
        SHARED,
        "    # BEGIN SOLUTION 7: Be ready to lose it.\n    #: return Shared(redis)\n    return GuardedShared(redis)\n",
        "    return Shared(redis)\n",
        {check_redis_loss_is_survived},
    ),
    Mutant(
        "does not come back to Redis",
        SHARED,
        "LEAVE_ALONE_S = 1.0",
        "LEAVE_ALONE_S = 1e6",
        {check_redis_loss_is_survived},
    ),
    Mutant(
        "answers 500 without its database",
        PROBLEMS,
        "    @app.exception_handler(SQLAlchemyError)\n",
        "",
        {check_database_loss_is_survived},
    ),
    Mutant(
        "ends streams without a word",
        DRAIN,
        "    return expirable(_streams, deadline)\n",
        "    return asyncio.timeout_at(deadline)\n",
        {check_open_streams_end_with_an_error},
    ),
    Mutant(
        "does not start without Redis",
        SHARED,
        "        app.state.shared = guarded(redis)\n",
        "        await redis.ping()\n        app.state.shared = guarded(redis)\n",
        {check_starts_without_its_dependencies},
    ),
]
