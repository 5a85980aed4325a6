"""Faults of lab 9, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_09_scaling import (
    check_a_database_restart_is_survived,
    check_a_thousand_connections,
    check_a_worker_does_the_work,
    check_balanced_replicas_act_as_one,
    check_connections_are_bounded,
    check_failures_are_told,
    check_hanging_tasks_fail,
    check_keys_are_bound,
    check_killed_workers_lose_nothing,
    check_latency_under_load,
    check_nothing_leaks,
    check_repetitions_add_nothing,
    check_replicas_share_answers,
    check_replicas_share_limits,
    check_requests_are_validated,
    check_scaling_settings_fail_fast,
    check_tasks_are_done,
    check_tasks_are_kept,
    check_tasks_are_private,
    check_the_pool_is_free_while_models_think,
    check_the_queue_is_bounded,
    check_without_a_queue_nothing_is_accepted,
)
from tests.mutants import Mutant

AUTH = "app/auth.py"
BUCKETS = "app/buckets.py"
CACHE = "app/cache.py"
CHAT = "app/chat.py"
JOBS = "app/jobs.py"
LIMITS = "app/limits.py"
PROBLEMS = "app/problems.py"
SETTINGS = "app/settings.py"
STORE = "app/store.py"
THROTTLE = "app/throttle.py"
WORKER = "app/worker.py"

NO_SUCH_TASK = '        raise HTTPException(404, "There is no such task.")\n'
LOCATION = '    response.headers.update(allowance | {"Location": f"/chat-status/{task.id}"})\n'
TAKE_IN = '@provider_router.post("/chat-async", status_code=202)\n'
KNOWN = """            if known := await self._known(session, task):
                return known, False
"""
ROOM = "            await self._make_room(session)\n"
CALLER = "    caller = caller_of(request).id\n"
SERVE = "return await handle(request)\n"
ANSWER = "    answer = await answers.answer(caller_of(request).id, prompt)\n"

MUTANTS = [
    Mutant(
        "The answer does not say where to look",
        JOBS,
        LOCATION,
        "    response.headers.update(allowance)\n",
        {check_tasks_are_done},
    ),
    Mutant(
        "Every task costs a hundred tokens",
        JOBS,
        '"tokens_used": task.tokens_used',
        '"tokens_used": 100',
        {check_tasks_are_done},
    ),
    Mutant(
        "Unknown fields of a task are accepted",
        JOBS,
        f"{TAKE_IN}async def chat_async(\n    question: ChatRequest,\n",
        f'class Loose(ChatRequest):\n    model_config = {{"extra": "ignore"}}\n\n\n{TAKE_IN}'
        "async def chat_async(\n    question: Loose,\n",
        {check_requests_are_validated},
    ),
    Mutant(
        "Whoever knows the id sees the task",
        JOBS,
        "Task.id == task_id, Task.caller == caller",
        "Task.id == task_id",
        {check_tasks_are_private},
    ),
    Mutant(
        "An unknown task is processing for ever",
        JOBS,
        NO_SUCH_TASK,
        '        return {"status": PROCESSING, "result": None}\n',
        {check_tasks_are_private},
    ),
    Mutant(
        "A failed task is processing for ever",
        JOBS,
        '{"status": FAILED}',
        '{"status": PROCESSING}',
        {check_failures_are_told},
    ),
    Mutant(
        "One key at the same instant makes two tasks",
        JOBS,
        '(UniqueConstraint("caller", "idempotency_key"),)',
        "()",
        {check_repetitions_add_nothing},
    ),
    Mutant(
        "A key stands for any temperature",
        JOBS,
        "json.dumps([question.message, question.temperature])",
        "json.dumps([question.message])",
        {check_keys_are_bound},
    ),
    Mutant(
        "All callers share their keys",
        JOBS,
        "Task.caller == task.caller, Task.idempotency_key == task.idempotency_key",
        "(Task.idempotency_key == task.idempotency_key,)",
        {check_keys_are_bound},
    ),
    Mutant(
        "Any text is a key",
        JOBS,
        'VISIBLE = r"^[!-~]{1,128}$"',
        'VISIBLE = r""',
        {check_keys_are_bound},
    ),
    Mutant(
        "Tasks are forgotten after a minute",
        JOBS,
        f'{LOCATION}    return {{"task_id": task.id, "status": PROCESSING}}\n\n\n'
        '@router.get("/chat-status/{task_id}")\n'
        "async def chat_status(task_id: str, request: Request) -> dict[str, Any]:\n",
        '    await shared.redis.set(f"task:{task.id}", 1, ex=60)\n'
        f'{LOCATION}    return {{"task_id": task.id, "status": PROCESSING}}\n\n\n'
        '@router.get("/chat-status/{task_id}")\n'
        "async def chat_status(task_id: str, request: Request) -> dict[str, Any]:\n"
        '    if not await request.app.state.shared.redis.exists(f"task:{task_id}"):\n'
        f"{NO_SUCH_TASK}",
        {check_tasks_are_kept},
    ),
    Mutant(
        "The web process does the work itself",
        JOBS,
        "        await enqueue(jobs, task)\n",
        "        request.app.state.work = asyncio.create_task(asyncio.to_thread(lambda: answer_task()(task.id)))\n",
        {check_a_worker_does_the_work},
    ),
    Mutant(
        "The queue has no end",
        JOBS,
        "if waiting >= self._queue_max:",
        "if waiting >= 10 * self._queue_max:",
        {check_the_queue_is_bounded},
    ),
    Mutant(
        "A failed task keeps its place in the queue",
        JOBS,
        "where(Task.status == PROCESSING)) or 0",
        "where(Task.status != COMPLETE)) or 0",
        {check_the_queue_is_bounded},
    ),
    Mutant(
        "A full queue does not say when to come back",
        JOBS,
        '{"Retry-After": "5"}',
        "{}",
        {check_the_queue_is_bounded},
    ),
    Mutant(
        "A full queue turns away known keys",
        JOBS,
        KNOWN + ROOM,
        ROOM + KNOWN,
        {check_the_queue_is_bounded},
    ),
    Mutant(
        "Messages are acknowledged before the work is done",
        WORKER,
        "task_acks_late=True",
        "task_acks_late=False",
        {check_killed_workers_lose_nothing},
    ),
    Mutant(
        "The next worker waits for an hour",
        WORKER,
        '"visibility_timeout": LONGEST_TASK_S',
        '"visibility_timeout": 3600 + LONGEST_TASK_S',
        {check_killed_workers_lose_nothing},
    ),
    Mutant(
        "A task waits for ten minutes",
        WORKER,
        "resilient(SETTINGS, openai.DefaultAsyncHttpxClient(timeout=SETTINGS.llm_timeout_s))",
        'resilient(SETTINGS.model_copy(update={"llm_timeout_s": 600.0}), openai.DefaultAsyncHttpxClient(timeout=600))',
        {check_hanging_tasks_fail},
    ),
    Mutant(
        "Each replica counts requests by itself",
        BUCKETS,
        "return FallbackBuckets(shared)",
        "return LocalBuckets()",
        {check_replicas_share_limits},
    ),
    Mutant(
        "Each replica counts failed logins by itself",
        THROTTLE,
        "return FallbackThrottle(shared, LocalThrottle(settings))",
        "return LocalThrottle(settings)",
        {check_replicas_share_limits},
    ),
    Mutant(
        "Each replica has answers of its own",
        CACHE,
        "        key = self._key(caller, prompt)\n        flight =",
        '        key = self._key(caller, prompt) + str(__import__("os").getpid())\n        flight =',
        {check_replicas_share_answers},
    ),
    Mutant(
        "What comes through a proxy is not limited",
        LIMITS,
        f"{CALLER}    wanted",
        f'    if "x-forwarded-for" in request.headers:\n        return {{}}\n{CALLER}    wanted',
        {check_balanced_replicas_act_as_one},
    ),
    Mutant(
        "The pool overflows",
        STORE,
        '"max_overflow": settings.db_max_overflow',
        '"max_overflow": 20',
        {check_connections_are_bounded},
    ),
    Mutant(
        "A request keeps its connection while the model thinks",
        AUTH,
        SERVE,
        f"async with request.app.state.store.engine.connect(): {SERVE}",
        {check_the_pool_is_free_while_models_think},
    ),
    Mutant(
        "A lost database is an unexpected error",
        PROBLEMS,
        "    @app.exception_handler(SQLAlchemyError)\n",
        "",
        {check_a_database_restart_is_survived},
    ),
    Mutant(
        "A lost queue is an unexpected error",
        JOBS,
        "await shared.call(lambda redis: redis.ping())",
        "await shared.redis.ping()",
        {check_without_a_queue_nothing_is_accepted},
    ),
    Mutant(
        "A queue may have any length",
        SETTINGS,
        "queue_max: Count",
        "queue_max: int",
        {check_scaling_settings_fail_fast},
    ),
]

LOAD_MUTANTS = [
    Mutant(
        "Every chat stops the event loop for a while",
        CHAT,
        ANSWER,
        f'    __import__("time").sleep(0.25)\n{ANSWER}',
        {check_latency_under_load},
    ),
    Mutant(
        "Every chat opens a file and leaves it open",
        CHAT,
        ANSWER,
        f'    request.app.state.files = (open("/dev/null"), getattr(request.app.state, "files", None))\n{ANSWER}',
        {check_nothing_leaks},
    ),
    Mutant(
        "Every chat keeps a hundred kilobytes",
        CHAT,
        ANSWER,
        f'    request.app.state.kept = (b"x" * 100_000, getattr(request.app.state, "kept", None))\n{ANSWER}',
        {check_nothing_leaks},
    ),
    Mutant(
        "Who cannot be served at once is sent away",
        "app/door.py",
        "patience = 2 * settings.llm_timeout_s",
        "patience = 0.05",
        {check_a_thousand_connections},
    ),
]
"""Faults that only load shows; the load checks take longer, so they are graded by a test of their own."""
