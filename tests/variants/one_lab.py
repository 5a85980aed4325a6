"""Choices that matter to one lab, or to a few."""

from __future__ import annotations

from tests.variants.variant import Variant

CACHE, JOBS, MODEL, PROBLEMS = "app/cache.py", "app/jobs.py", "app/model.py", "app/problems.py"
RESILIENCE, SEMANTIC, TELEMETRY = "app/resilience.py", "app/semantic.py", "app/telemetry.py"

VARIANTS = [
    Variant(
        labs=(5,),
        choice="keeps answers in Redis hashes",
        edits=(
            (CACHE, 'redis.get(f"answer:{key}")', 'redis.hget(f"a:{key}", "v")'),
            (
                CACHE,
                '        await self._shared.attempt(lambda redis: redis.set(f"answer:{key}", kept.dump(), px=rest))\n',
                (
                    "        async def put(redis):\n"
                    "            async with redis.pipeline() as pipe:\n"
                    '                pipe.hset(f"a:{key}", "v", kept.dump())\n'
                    '                pipe.pexpire(f"a:{key}", rest)\n'
                    "                await pipe.execute()\n\n"
                    "        await self._shared.attempt(put)\n"
                ),
            ),
        ),
    ),
    Variant(
        labs=(5,),
        choice="compares in plain Python and stays semantic",
        edits=(
            (
                SEMANTIC,
                'likeness = entries["vector"] @ vector',
                'likeness = np.array([sum(float(a) * float(b) for a, b in zip(one, vector)) for one in entries["vector"]])',
            ),
            (CACHE, "        if kept:\n            await self._keep(key, kept)\n", ""),
        ),
    ),
    Variant(
        labs=(2, 5, 7),
        choice="has the model stream even where nobody waits for tokens",
        edits=(
            (
                MODEL,
                "            stream_usage=True,  #",
                "            streaming=True,\n            stream_usage=True,  #",
            ),
            (
                MODEL,
                "            return self._whole(str(reply.content)",
                (
                    '            if not reply.response_metadata.get("finish_reason"):\n'
                    '                raise ModelUnavailable("stream broken off")\n'
                    "            return self._whole(str(reply.content)"
                ),
            ),
        ),
    ),
    Variant(
        labs=(6,),
        choice="writes messages, loud levels and no routes",
        edits=(
            (
                TELEMETRY,
                "            structlog.processors.JSONRenderer(),\n",
                (
                    '            structlog.processors.EventRenamer("message"),\n'
                    '            lambda _, __, event: {**event, "level": event["level"].upper()},\n'
                    "            structlog.processors.JSONRenderer(),\n"
                ),
            ),
            (TELEMETRY, "            route=handler,\n", ""),
        ),
    ),
    Variant(
        labs=(6,),
        choice="shows its numbers one slash further and under more labels",
        edits=(
            (
                TELEMETRY,
                '@router.get("/metrics")\n',
                (
                    '@router.get("/metrics")\nasync def moved() -> Response:\n'
                    '    return Response(status_code=307, headers={"location": "/metrics/"})\n\n\n@router.get("/metrics/")\n'
                ),
            ),
            (TELEMETRY, '["method", "handler", "status"]', '["method", "handler", "status", "replica"]'),
            (TELEMETRY, "REQUESTS.labels(method, handler, status)", 'REQUESTS.labels(method, handler, status, "a")'),
        ),
    ),
    Variant(labs=(7,), choice="asks each model once", edits=((RESILIENCE, "ATTEMPTS = 2\n", "ATTEMPTS = 1\n"),)),
    Variant(
        labs=(7,),
        choice="calls a refusal of the provider 503 and says more in problems",
        edits=(
            (
                PROBLEMS,
                'return problem(502, "The model\'s provider does not accept the request.")',
                'return problem(503, "No answer.", {"Retry-After": "7"})',
            ),
            (
                PROBLEMS,
                '{"type": "about:blank", "title"',
                '{"type": "https://errors.example/x", "instance": "/x", "title"',
            ),
        ),
    ),
    Variant(
        labs=(9,),
        choice="names tasks with hyphens",
        edits=(
            (JOBS, "id=uuid.uuid4().hex,", "id=str(uuid.uuid4()),"),
            (JOBS, "if task_id.isalnum() else None", 'if task_id.replace("-", "").isalnum() else None'),
        ),
    ),
    Variant(
        labs=(9,),
        choice="answers 400 to keys that cannot be ones",
        edits=(
            (JOBS, "Header(pattern=VISIBLE)", "Header()"),
            (
                JOBS,
                "    shared: Shared = request.app.state.shared\n    await shared.call(lambda redis: redis.ping())",
                (
                    "    import re\n\n    if idempotency_key is not None and not re.fullmatch(VISIBLE, idempotency_key):\n"
                    '        raise HTTPException(400, "Not a key.")\n'
                    "    shared: Shared = request.app.state.shared\n    await shared.call(lambda redis: redis.ping())"
                ),
            ),
        ),
    ),
]
