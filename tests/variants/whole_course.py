"""Choices that reach through all labs: each of these services is graded from lab 1 to lab 9."""

from __future__ import annotations

from tests.variants.variant import Variant

AUTH, CACHE, CHAT, HEALTH = "app/auth.py", "app/cache.py", "app/chat.py", "app/health.py"
JOBS, LIMITS, MAIN = "app/jobs.py", "app/limits.py", "app/main.py"


def counted_by(look: str) -> Variant:
    """Return a service that counts requests in another way."""
    return Variant(
        choice=f"limits by {look}",
        pieces=("windows.py",),
        edits=(
            (LIMITS, "import Bucket, SharedBuckets, survivable", "import Bucket, survivable"),
            (
                LIMITS,
                "from app.problems import invalid",
                "from app.windows import WindowedBuckets\nfrom app.problems import invalid",
            ),
            (LIMITS, "SharedBuckets(app.state.shared)", f'WindowedBuckets(app.state.shared, "{look}")'),
        ),
    )


def started_by(choice: str, words: str, port: str) -> Variant:
    """Return a service whose Procfile and image start another server."""
    return Variant(
        choice=choice,
        edits=(
            (
                "Procfile",
                "exec uvicorn app.main:app --host 0.0.0.0 --port $PORT --timeout-graceful-shutdown 8",
                f"exec {words}{port.format('$PORT')}",
            ),
            (
                "Dockerfile",
                "exec uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000} --timeout-graceful-shutdown 8",
                f"exec {words}{port.format('${PORT:-8000}')}",
            ),
        ),
        labs=(8,),
    )


VARIANTS = [
    *map(counted_by, ("sliding log", "fixed window", "sliding counter")),
    Variant(
        choice="authenticates in a middleware",
        pieces=("gate.py",),
        edits=(
            (AUTH, "                request.state.caller = await authorized(request, Role.USER)\n", ""),
            (AUTH, "    await authorized(request, Role.ADMIN)\n", ""),
            (JOBS, "await authorized(request, Role.GUEST)", "caller_of(request)"),
            (
                MAIN,
                "from app.body_limit import BodyLimit",
                "from app.body_limit import BodyLimit\nfrom app.gate import Gate",
            ),
            (MAIN, "(BodyLimit, Drain, Telemetry)", "(Gate, BodyLimit, Drain, Telemetry)"),
        ),
    ),
    Variant(
        choice="keeps MessagePack in hashes and the latest answers at hand",
        pieces=("near.py",),
        edits=(
            (
                CACHE,
                "    return CachedAnswers(answers.model,",
                "    from app.near import NearAnswers\n\n    return NearAnswers(answers.model,",
            ),
        ),
    ),
    Variant(
        choice="is made of mounted applications",
        edits=(
            (MAIN, "redirect_slashes=False, ", ""),
            (MAIN, "        telemetry.router,\n", ""),
            (
                MAIN,
                "    for router in (\n",
                (
                    "    app.include_router(telemetry.router)\n"
                    "    inner, admin = FastAPI(openapi_url=None), FastAPI(openapi_url=None)\n"
                    "    inner.state = admin.state = app.state\n"
                    "    for each in (inner, admin):\n"
                    "        problems.install(each)\n"
                    '    admin.delete("/users/{username}", dependencies=auth.CREDENTIALS)(auth.remove_user)\n'
                    '    app.mount("/admin", admin)\n'
                    '    app.get("/")(root)\n'
                    '    @app.get("/health")\n    async def well() -> Response:\n        return await health.report(app)\n\n'
                    '    app.mount("", inner)\n'
                    "    for router in (\n"
                ),
            ),
            (MAIN, "        app.include_router(router)", "        inner.include_router(router)"),
            (
                MAIN,
                "app = create_app(Settings.from_environment())\n",
                (
                    'async def root() -> dict[str, str]:\n    return {"message": "Ask"}\n\n\n'
                    "app = create_app(Settings.from_environment())\n"
                ),
            ),
            (AUTH, '@router.delete("/admin/users/{username}", dependencies=CREDENTIALS)\n', ""),
        ),
    ),
    Variant(
        choice="is a factory in a package of another name",
        edits=(
            (
                MAIN,
                "def create_app(settings: Settings) -> FastAPI:",
                "def make(settings: Settings | None = None) -> FastAPI:",
            ),
            (
                MAIN,
                "    telemetry.configure(settings)\n",
                "    settings = settings or Settings.from_environment()\n    telemetry.configure(settings)\n",
            ),
            (MAIN, "app = create_app(Settings.from_environment())\n", ""),
            (
                MAIN,
                "    app.state.settings = settings\n",
                '    app.state.settings = settings\n    app.get("/")(root)\n\n    @app.get("/health")\n    async def well() -> Response:\n        return await health.report(app)\n\n',
            ),
            (MAIN, '@app.get("/")\nasync def', "async def"),
            (
                MAIN,
                '@app.get("/health")\nasync def health_check() -> Response:\n    """Say how the service is."""\n    return await health.report(app)\n',
                "",
            ),
            ("pyproject.toml", 'app = "app.main:app"', 'app = "app.main:make"\nfactory = true'),
            (
                "tests/test_probes.py",
                'importlib.import_module("app.main").app',
                'importlib.import_module("app.main").make()',
            ),
        ),
        words=(
            ("exec uvicorn app.main:app", "exec uvicorn --factory app.main:make"),
            ("app.main", "assistant.main"),
            ("app.worker", "assistant.worker"),
            ("from app.", "from assistant."),
            ("from app import", "from assistant import"),
            ("COPY app app", "COPY assistant assistant"),
            ("!app\n", "!assistant\n"),
        ),
        renamed=(("app", "assistant"),),
    ),
    Variant(
        choice="has a worker of its own that polls the database",
        pieces=("poller.py",),
        edits=(
            (
                JOBS,
                "    created: Mapped[float] = mapped_column(index=True)\n",
                "    created: Mapped[float] = mapped_column(index=True)\n    claimed: Mapped[float] = mapped_column(default=0.0)\n",
            ),
            (JOBS, "    task, new = await jobs.add(", "    task, _ = await jobs.add("),
            (JOBS, "    if new:\n        await enqueue(jobs, task)\n", ""),
            (
                "pyproject.toml",
                'worker = "celery -A app.worker worker --concurrency 2"',
                'worker = "python -m app.poller"',
            ),
            ("Procfile", "celery -A app.worker worker --concurrency 2", "python -m app.poller"),
            (
                "k8s/worker.yaml",
                '["celery", "-A", "app.worker", "worker", "--concurrency", "2"]',
                '["python", "-m", "app.poller"]',
            ),
            (
                "compose.yaml",
                '["celery", "-A", "app.worker", "worker", "--concurrency", "2"]',
                '["python", "-m", "app.poller"]',
            ),
        ),
    ),
    Variant(
        choice="watches in a function around the application",
        pieces=("watching.py",),
        edits=(
            (MAIN, "from app.telemetry import Telemetry", "from app import watching"),
            (MAIN, "(BodyLimit, Drain, Telemetry)", "(BodyLimit, Drain)"),
            (MAIN, "    return app\n", "    watching.install(app)\n    return app\n"),
        ),
    ),
    Variant(
        choice="looks after its dependencies in the background and begins streams at once",
        pieces=("rounds.py",),
        edits=(
            (MAIN, "shared, auth, limits, chat, health):", "shared, auth, limits, chat, rounds):"),
            (MAIN, "from app.settings import Settings", "from app import rounds\nfrom app.settings import Settings"),
            (
                HEALTH,
                "await works(request.app.state.store.ping())",
                '(await request.app.state.vitals.look())["database"]',
            ),
            (
                CHAT,
                "tokens = await resilience.begun(request, model.stream(Prompt(question.message, question.temperature)))",
                "tokens = model.stream(Prompt(question.message, question.temperature))",
            ),
            (
                LIMITS,
                (
                    '        "X-RateLimit-Limit": str(math.floor(bucket.capacity)),\n'
                    '        "X-RateLimit-Remaining": str(math.floor(max(0, left) + 0.001)),\n'
                    '        "X-RateLimit-Reset": str(math.ceil((bucket.capacity - left) / bucket.refill)),\n'
                ),
                (
                    """        "RateLimit-Policy": f'"requests";q={bucket.capacity};w={math.ceil(bucket.capacity / bucket.refill)}',\n"""
                    """        "RateLimit": f'"requests";r={math.floor(max(0, left) + 0.001)}',\n"""
                ),
            ),
        ),
    ),
    Variant(
        choice="limits before it validates",
        pieces=("toll.py",),
        edits=(
            (
                AUTH,
                "request.state.caller = await authorized(request, Role.USER)",
                'if not hasattr(request.state, "caller"):\n                    request.state.caller = await authorized(request, Role.USER)',
            ),
            (
                LIMITS,
                "wanted = [requests_bucket(caller, settings)] + ([work_bucket(caller, settings, tokens)] if tokens else [])",
                "wanted = [work_bucket(caller, settings, tokens) if tokens else requests_bucket(caller, settings)]",
            ),
            (
                LIMITS,
                "    headers = allowance(wanted[0], taken.left[0])\n",
                "    headers = request.state.allowance if tokens else allowance(wanted[0], taken.left[0])\n",
            ),
            (LIMITS, "    return await admit(request)", "    return request.state.allowance"),
            (
                MAIN,
                "from app.body_limit import BodyLimit",
                "from app.body_limit import BodyLimit\nfrom app.toll import Toll",
            ),
            (MAIN, "(BodyLimit, Drain, Telemetry)", "(Toll, BodyLimit, Drain, Telemetry)"),
        ),
    ),
    Variant(
        choice="keeps summaries and items of batches, too",
        edits=(
            (
                CHAT,
                "    task: SummarizeRequest, response: Response, model: ModelDep, allowance: Allowance\n",
                "    task: SummarizeRequest, request: Request, response: Response, answers: AnswersDep, allowance: Allowance\n",
            ),
            (
                CHAT,
                "    completion = await model.complete(Prompt(task.text, temperature=0.3, system=instruction))\n    response.headers.update(allowance)\n",
                "    prompt = Prompt(task.text, temperature=0.3, system=instruction)\n    answer = await answers.answer(caller_of(request).id, prompt)\n    response.headers.update(allowance | answer.headers)\n",
            ),
            (
                CHAT,
                "SummarizeResponse(summary=completion.text, tokens_used=completion.tokens, degraded=completion.degraded)",
                "SummarizeResponse(summary=answer.response, tokens_used=answer.tokens_used, degraded=answer.degraded)",
            ),
            (
                CHAT,
                "async def batch_process(batch: BatchRequest, request: Request, response: Response, model: ModelDep) -> BatchResponse:",
                "async def batch_process(batch: BatchRequest, request: Request, response: Response, answers: AnswersDep) -> BatchResponse:",
            ),
            (
                CHAT,
                "completion = await model.complete(Prompt(item.strip()))",
                "answer = await answers.answer(caller_of(request).id, Prompt(item.strip()))",
            ),
            (
                CHAT,
                "BatchResult(item=item, response=completion.text)",
                "BatchResult(item=item, response=answer.response)",
            ),
        ),
    ),
    Variant(
        choice="closes connections, sends chunks, and writes other events and problems",
        edits=(
            (
                CHAT,
                '    return f"event: {name}\\ndata: {json.dumps(data)}\\n\\n"\n',
                (
                    '    lines = "".join(f"data: {line}\\r\\n" for line in json.dumps(data, indent=1).splitlines())\n'
                    '    return f": a comment\\r\\n\\r\\nid: 1\\r\\nretry: 5000\\r\\n{lines}event: {name}\\r\\n\\r\\n"\n'
                ),
            ),
            (
                "app/telemetry.py",
                'headers = message["headers"] = list(message.get("headers", ()))',
                'headers = [(k, v) for k, v in message.get("headers", ()) if k != b"content-length"]\n        message["headers"] = headers\n        headers.append((b"connection", b"close"))',
            ),
            (
                "app/problems.py",
                '{"type": "about:blank", "title": title,',
                '{"type": f"https://errors.example/{status}", "title": title, "instance": "/errors", "code": 7,',
            ),
            (
                "app/schemas.py",
                "    degraded: bool\n    # END SOLUTION\n\n\nclass SummarizeRequest",
                "    degraded: bool | None = None\n    # END SOLUTION\n\n\nclass SummarizeRequest",
            ),
            (CHAT, '@router.post("/chat")', '@router.post("/chat", response_model_exclude_none=True)'),
            (
                CACHE,
                "self.completion.degraded or self.source is Source.STALE",
                "self.completion.degraded or self.source is Source.STALE or None",
            ),
        ),
    ),
    Variant(
        choice="takes its time to start and to stop",
        edits=(
            (
                MAIN,
                "            await stack.enter_async_context(topic.opened(app))\n        yield\n",
                "            await stack.enter_async_context(topic.opened(app))\n        await asyncio.sleep(3)\n        yield\n        await asyncio.sleep(2)\n",
            ),
            (MAIN, "from contextlib import AsyncExitStack", "import asyncio\nfrom contextlib import AsyncExitStack"),
        ),
    ),
    started_by(
        "starts two workers of gunicorn",
        "gunicorn app.main:app -k asgi --workers 2 --graceful-timeout 8",
        " --bind 0.0.0.0:{}",
    ),
]
