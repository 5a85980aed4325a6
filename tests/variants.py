"""Variants: the finished service with one thing done otherwise, and as right as before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """A choice that the contract leaves open: edits of the finished service, each text occurring exactly once."""

    lab: int
    choice: str
    edits: tuple[tuple[str, str, str], ...]

    @property
    def name(self) -> str:
        """A short name for listings."""
        return f"lab{self.lab:02d}-" + re.sub(r"\W+", "-", self.choice.lower()).strip("-")

    def apply(self, folder: Path) -> None:
        """Make the edits. Raises ``ValueError`` when one does not fit."""
        for file, old, new in self.edits:
            path = folder / file
            text = path.read_text(encoding="utf-8")
            if text.count(old) != 1:
                raise ValueError(f"{self.choice}: the text to replace occurs {text.count(old)} times in {file}")
            path.write_text(text.replace(old, new), encoding="utf-8")


CACHE, JOBS, PROBLEMS = "app/cache.py", "app/jobs.py", "app/problems.py"
RESILIENCE, SEMANTIC, TELEMETRY = "app/resilience.py", "app/semantic.py", "app/telemetry.py"

VARIANTS = [
    Variant(
        5,
        "keeps answers in Redis hashes",
        (
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
        5,
        "compares in plain Python and stays semantic",
        (
            (
                SEMANTIC,
                'likeness = entries["vector"] @ vector',
                'likeness = np.array([sum(float(a) * float(b) for a, b in zip(one, vector)) for one in entries["vector"]])',
            ),
            (CACHE, "        if kept:\n            await self._keep(key, kept)\n", ""),
        ),
    ),
    Variant(
        6,
        "writes messages, loud levels and no routes",
        (
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
        6,
        "shows its numbers one slash further and under more labels",
        (
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
    Variant(7, "asks each model once", ((RESILIENCE, "ATTEMPTS = 2\n", "ATTEMPTS = 1\n"),)),
    Variant(
        7,
        "calls a refusal of the provider 503 and says more in problems",
        (
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
        9,
        "names tasks with hyphens",
        (
            (JOBS, "id=uuid.uuid4().hex,", "id=str(uuid.uuid4()),"),
            (JOBS, "if task_id.isalnum() else None", 'if task_id.replace("-", "").isalnum() else None'),
        ),
    ),
    Variant(
        9,
        "answers 400 to keys that cannot be ones",
        (
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
