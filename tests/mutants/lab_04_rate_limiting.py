"""Faults of lab 4, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_04_rate_limiting import (
    check_a_burst_does_not_slip_through,
    check_batches_take_tokens,
    check_callers_have_their_own,
    check_counts_expire,
    check_disguises_do_not_help,
    check_expensive_operation_takes_tokens,
    check_limit_settings_fail_fast,
    check_no_moment_gives_more,
    check_rate_headers_are_true,
    check_refused_strangers_spend_nothing,
    check_replicas_share_the_allowance,
    check_retry_after_is_a_promise,
    check_routes_share_the_allowance,
    check_the_allowance_runs_out,
    check_the_bucket_is_shared,
    check_the_bucket_refills,
)
from tests.mutants import Mutant

AUTH = "app/auth.py"
BUCKETS = "app/buckets.py"
LIMITS = "app/limits.py"
SETTINGS = "app/settings.py"

REQUESTS = 'Bucket(f"limit:{{{caller}}}:requests", limit, limit / settings.rate_limit_window_s, 1)'
WORK = 'Bucket(f"limit:{{{caller}}}:work", settings.bucket_capacity, settings.bucket_refill_per_s, tokens)'
WHOSE = "    caller = caller_of(request).id\n"
WANTED = "[requests_bucket(caller, settings)] + ("
TAKE = (
    "        wait, left = await self._shared.run(self._script, [bucket.key for bucket in wanted], arguments)\n"
    "        return Taken(float(wait), [float(tokens) for tokens in left])\n"
)
SCRIPT_BODY = """  local before = math.max(now, tonumber(redis.call('GET', key) or now))
  full[i] = before + tokens * 1000000 / refill
  wait = math.max(wait, full[i] - now - capacity * 1000000 / refill)
  left[i] = {capacity - (before - now) * refill / 1000000, tokens}
end
local enough = wait < 100
for i, key in ipairs(KEYS) do
  if enough then
    redis.call('SET', key, string.format('%.17g', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
"""
RETRY_AFTER = '"Retry-After": str(max(1, math.ceil(taken.wait)))'
FIND_USER = "    user = await user_named(subject(token.strip(), request.app.state.settings), request.app.state.store)\n"

MUTANTS = [
    Mutant(
        "One request too many passes",
        LIMITS,
        REQUESTS,
        REQUESTS.replace(", limit,", ", limit + 1,"),
        {check_the_allowance_runs_out},
    ),
    Mutant(
        "One request too few passes",
        LIMITS,
        REQUESTS,
        REQUESTS.replace(", limit,", ", limit - 1,"),
        {check_the_allowance_runs_out},
    ),
    Mutant(
        "The limit is ten, whatever the setting says",
        LIMITS,
        "    limit = settings.rate_limit_requests\n",
        "    limit = 10\n",
        {check_the_allowance_runs_out},
    ),
    Mutant(
        "A refusal does not say when to come back",
        LIMITS,
        "headers | {" + RETRY_AFTER + "}",
        "headers",
        {check_the_allowance_runs_out, check_the_bucket_refills},
    ),
    Mutant(
        "Retry-After is in milliseconds",
        LIMITS,
        RETRY_AFTER,
        RETRY_AFTER.replace("taken.wait", "taken.wait * 1000"),
        {check_the_allowance_runs_out},
    ),
    Mutant(
        "The model is asked first, then the limit is looked at",
        "app/chat.py",
        """answers: AnswersDep, allowance: Allowance
) -> ChatResponse:
    \"\"\"Answer a message.\"\"\"
    prompt = Prompt(question.message, question.temperature)
    answer = await answers.answer(caller_of(request).id, prompt)
""",
        """answers: AnswersDep
) -> ChatResponse:
    \"\"\"Answer a message.\"\"\"
    prompt = Prompt(question.message, question.temperature)
    answer = await answers.answer(caller_of(request).id, prompt)
    allowance = await limits.one_request(request)
""",
        {check_the_allowance_runs_out},
    ),
    Mutant(
        "Between looking and taking others look too",
        BUCKETS,
        TAKE,
        """        redis = self._shared.redis
        seconds, microseconds = await redis.time()
        now, wait = seconds + microseconds / 1e6, 0.0
        full, left = [], []
        for bucket in wanted:
            before = max(now, float(await redis.get(bucket.key) or now))
            full.append(before + bucket.tokens / bucket.refill)
            wait = max(wait, full[-1] - now - bucket.capacity / bucket.refill)
            left.append(bucket.capacity - (full[-1] - now) * bucket.refill)
        if wait > 0.0001:
            return Taken(wait, left)
        for bucket, moment in zip(wanted, full, strict=True):
            await redis.set(bucket.key, moment, px=int((moment - now) * 1000) + 1)
        return Taken(0, left)
""",
        {check_a_burst_does_not_slip_through, check_the_bucket_is_shared},
    ),
    Mutant(
        "Each process counts for itself",
        LIMITS,
        REQUESTS,
        REQUESTS.replace(":requests", ":{__import__('os').getpid()}"),
        {check_replicas_share_the_allowance},
    ),
    Mutant(
        "Each route has an allowance of its own",
        LIMITS,
        WANTED,
        "[requests_bucket(caller + request.url.path, settings)] + (",
        {check_routes_share_the_allowance},
    ),
    Mutant(
        "A batch counts as many requests as it has items",
        LIMITS,
        WANTED,
        "[__import__('dataclasses').replace(requests_bucket(caller, settings), tokens=max(1, tokens))] + (",
        {check_routes_share_the_allowance},
    ),
    Mutant(
        "All callers share one allowance",
        LIMITS,
        REQUESTS,
        REQUESTS.replace("{{{caller}}}", "all"),
        {check_callers_have_their_own},
    ),
    Mutant(
        "Every key is a caller of its own",
        AUTH,
        'Caller(f"client:{client.client}",',
        'Caller(f"client:{digest}",',
        {check_callers_have_their_own},
    ),
    Mutant(
        "A user and a client of the same name are one caller",
        AUTH,
        'Caller(f"user:{user.username}",',
        'Caller(f"client:{user.username}",',
        {check_callers_have_their_own},
    ),
    Mutant(
        "X-Forwarded-For is taken for the caller",
        LIMITS,
        WHOSE,
        '    caller = request.headers.get("x-forwarded-for") or caller_of(request).id\n',
        {check_disguises_do_not_help},
    ),
    Mutant(
        "Every token is a caller of its own",
        LIMITS,
        WHOSE,
        '    caller = request.headers.get("authorization") or caller_of(request).id\n',
        {check_disguises_do_not_help},
    ),
    Mutant(
        "A forged token spends the allowance of the user that it names",
        AUTH,
        FIND_USER,
        """    try:
        name = subject(token.strip(), request.app.state.settings)
    except HTTPException:
        from app.limits import requests_bucket

        named = jwt.decode(token.strip(), options={"verify_signature": False})["sub"]
        await request.app.state.buckets.take([requests_bucket(f"user:{named}", request.app.state.settings)])
        raise
    user = await user_named(name, request.app.state.store)
""",
        {check_refused_strangers_spend_nothing},
    ),
    Mutant(
        "Refused requests extend the wait",
        BUCKETS,
        "  if enough then\n",
        "  if KEYS then\n",
        {check_retry_after_is_a_promise},
    ),
    Mutant(
        "Retry-After is always one second",
        LIMITS,
        RETRY_AFTER,
        '"Retry-After": "1"',
        {check_the_bucket_refills},
    ),
    Mutant(
        "Windows begin at full minutes of the clock",
        BUCKETS,
        TAKE,
        """        import time

        wait, left = 0.0, []
        for bucket in wanted:
            window = bucket.capacity / bucket.refill
            key = f"{bucket.key}:{time.time() // window}"
            used = await self._shared.redis.incrby(key, int(bucket.tokens))
            await self._shared.redis.pexpire(key, int(window * 1000) + 1000)
            left.append(bucket.capacity - used)
            wait = max(wait, 0 if used <= bucket.capacity else window - time.time() % window)
        return Taken(wait, left)
""",
        {check_no_moment_gives_more},
    ),
    Mutant(
        "What an idle caller did not use is saved up",
        BUCKETS,
        SCRIPT_BODY,
        SCRIPT_BODY.replace(
            "math.max(now, tonumber(redis.call('GET', key) or now))", "redis.call('GET', key) or now"
        ).replace("math.ceil((full[i] - now) / 1000)", "100000"),
        {check_no_moment_gives_more},
    ),
    Mutant(
        "What remains is always the whole limit",
        LIMITS,
        '"X-RateLimit-Remaining": str(math.floor(max(0, left) + 0.001)),',
        '"X-RateLimit-Remaining": str(math.floor(bucket.capacity)),',
        {check_rate_headers_are_true},
    ),
    Mutant(
        "A negative number of tokens is a gift",
        LIMITS,
        "Query(ge=1)",
        "Query()",
        {check_expensive_operation_takes_tokens},
    ),
    Mutant(
        "More tokens than the bucket holds are asked to wait for ever",
        LIMITS,
        "    if tokens_needed > settings.bucket_capacity:\n",
        "    if tokens_needed > 1000 * settings.bucket_capacity:\n",
        {check_expensive_operation_takes_tokens},
    ),
    Mutant(
        "What remains in the bucket is made up",
        LIMITS,
        '"remaining": round(taken.left[0], 3)',
        '"remaining": settings.bucket_capacity - tokens_needed',
        {check_expensive_operation_takes_tokens},
    ),
    Mutant(
        "The bucket refills a hundred times too fast",
        LIMITS,
        WORK,
        WORK.replace("refill_per_s,", "refill_per_s * 100,"),
        {check_the_bucket_refills},
    ),
    Mutant(
        "Each process has buckets of its own",
        LIMITS,
        WORK,
        WORK.replace(":work", ":{__import__('os').getpid()}"),
        {check_the_bucket_is_shared},
    ),
    Mutant(
        "Batches take no tokens",
        LIMITS,
        "([work_bucket(caller, settings, tokens)] if tokens else [])",
        "[]",
        {check_batches_take_tokens},
    ),
    Mutant(
        "A batch takes one token, however many items it has",
        LIMITS,
        "([work_bucket(caller, settings, tokens)] if tokens else [])",
        "([work_bucket(caller, settings, 1)] if tokens else [])",
        {check_batches_take_tokens},
    ),
    Mutant(
        "Counts never expire",
        BUCKETS,
        ", 'PX', math.ceil((full[i] - now) / 1000))",
        ")",
        {check_counts_expire},
    ),
    Mutant(
        "Counts are kept for a day",
        BUCKETS,
        "'PX', math.ceil((full[i] - now) / 1000))",
        "'EX', 86400)",
        {check_counts_expire},
    ),
    Mutant(
        "Counts of failed logins never expire",
        "app/throttle.py",
        "then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end",
        "then return 0 end",
        {check_counts_expire},
    ),
    Mutant(
        "A limit of nothing is accepted",
        SETTINGS,
        "    rate_limit_requests: Count = 10\n",
        "    rate_limit_requests: int = 10\n",
        {check_limit_settings_fail_fast},
    ),
    Mutant(
        "A bucket may refill never",
        SETTINGS,
        "    bucket_refill_per_s: Positive = 10\n",
        "    bucket_refill_per_s: float = 10\n",
        {check_limit_settings_fail_fast},
    ),
]
