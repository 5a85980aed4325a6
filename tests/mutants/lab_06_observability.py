"""Faults of lab 6, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_06_observability import (
    check_access_records,
    check_database_loss_is_seen,
    check_ids_do_not_mix,
    check_labels_are_bounded,
    check_last_words_are_json,
    check_lines_are_json,
    check_lines_cannot_be_forged,
    check_metrics_can_be_scraped,
    check_probes_when_all_is_well,
    check_process_time,
    check_provider_loss_is_seen,
    check_redis_loss_is_seen,
    check_refusals_are_counted,
    check_request_ids,
    check_requests_are_counted,
    check_secrets_stay_out,
    check_tokens_and_hits_are_counted,
)
from tests.mutants import Mutant

ANSWERED = '            "answered",\n'
DISABLE = 'logging.getLogger("uvicorn.access").disabled = True'
HEALTH = "app/health.py"
ID = "return given if HARMLESS.fullmatch(given) else uuid.uuid4().hex"
METHOD = 'method = self.scope["method"] if self.scope["method"] in METHODS else "other"'
HANDLER = 'handler = getattr(self.scope.get("route"), "path", "unknown")'
PATH = '            path=self.scope["path"],\n'
REQUEST_ID = "app/request_id.py"
TELEMETRY = "app/telemetry.py"
TOKENS = "TOKENS.labels(model).inc(tokens)"

MUTANTS = [
    Mutant(
        "writes lines for people",
        TELEMETRY,
        "structlog.processors.JSONRenderer(),",
        "structlog.dev.ConsoleRenderer(colors=False),",
        {check_lines_are_json},
    ),
    Mutant(
        "leaves out the time",
        TELEMETRY,
        'structlog.processors.TimeStamper(fmt="iso", utc=True),',
        "",
        {check_lines_are_json},
    ),
    Mutant(
        "gives local times without a zone",
        TELEMETRY,
        'structlog.processors.TimeStamper(fmt="iso", utc=True),',
        'structlog.processors.TimeStamper(fmt="iso", utc=False),',
        {check_lines_are_json},
    ),
    Mutant("leaves out the level", TELEMETRY, "structlog.processors.add_log_level,", "", {check_lines_are_json}),
    Mutant(
        "lets the server's own lines through as text",
        TELEMETRY,
        "logging.getLogger(name).handlers.clear()",
        "pass",
        {check_last_words_are_json},
    ),
    Mutant(
        "has two records of each request",
        TELEMETRY,
        "        self.recorded = True\n",
        "        self.recorded = self.status >= 400\n",
        {check_access_records},
    ),
    Mutant(
        "has no record of refusals",
        TELEMETRY,
        "        structlog.get_logger().info(\n" + ANSWERED,
        "        if status == 401:\n            return\n        structlog.get_logger().info(\n" + ANSWERED,
        {check_access_records},
    ),
    Mutant(
        "gives durations in seconds where milliseconds are promised, and as text",
        TELEMETRY,
        "duration_ms=round(seconds * 1000, 3),",
        'duration_ms=f"{seconds:.3f}",',
        {check_access_records},
    ),
    Mutant(
        "forgets the status in its records",
        TELEMETRY,
        "            status=status,\n",
        "            code=status,\n",
        {check_access_records},
    ),
    Mutant(
        "logs query strings",
        TELEMETRY,
        PATH,
        '            path=self.scope["path"] + "?" + self.scope["query_string"].decode(),\n',
        {check_secrets_stay_out},
    ),
    Mutant(
        "logs headers",
        TELEMETRY,
        PATH,
        PATH + '            headers={k.decode(): v.decode() for k, v in self.scope["headers"]},\n',
        {check_secrets_stay_out},
    ),
    Mutant(
        "logs the messages that it sends",
        "app/model.py",
        "                reply = await self._llm.ainvoke(",
        "                __import__('structlog').get_logger().info('asking', prompt=prompt.text)\n                reply = await self._llm.ainvoke(",
        {check_secrets_stay_out},
    ),
    Mutant(
        "writes paths as they come, line breaks and all",
        TELEMETRY,
        "structlog.processors.JSONRenderer(),",
        'lambda _, __, event: \'{"event": "%s", "level": "info", "path": "%s"}\' % (event[\'event\'], event.get(\'path\')),',
        {check_lines_cannot_be_forged, check_lines_are_json},
    ),
    Mutant("trusts any request id", REQUEST_ID, ID, "return given or uuid.uuid4().hex", {check_request_ids}),
    Mutant("ignores the caller's request id", REQUEST_ID, ID, "return uuid.uuid4().hex", {check_request_ids}),
    Mutant(
        "makes one request id for all",
        REQUEST_ID,
        ID,
        'return given if HARMLESS.fullmatch(given) else "request"',
        {check_request_ids},
    ),
    Mutant("takes over ids of any length", REQUEST_ID, "{1,64}", "{1,640}", {check_request_ids}),
    Mutant(
        "keeps the request id where all requests see it",
        TELEMETRY,
        'headers.append((b"x-request-id", self.id.encode()))',
        "Exchange.latest = self.id = max(self.id, getattr(Exchange, 'latest', ''))\n"
        '        headers.append((b"x-request-id", self.id.encode()))',
        {check_ids_do_not_mix},
    ),
    Mutant(
        "measures no time",
        TELEMETRY,
        'headers.append((b"x-process-time"',
        'headers.append((b"x-time"',
        {check_process_time},
    ),
    Mutant(
        "gives its time in milliseconds",
        TELEMETRY,
        'f"{time.perf_counter() - self.began:.6f}"',
        'f"{1000 * (time.perf_counter() - self.began):.6f}"',
        {check_process_time},
    ),
    Mutant(
        "asks the model whether it is well",
        HEALTH,
        "    url = f\"{str(settings.openai_base_url).rstrip('/')}/models\"\n",
        "    url = f\"{str(settings.openai_base_url).rstrip('/')}/models\"\n"
        '    await http.post(url.replace("models", "chat/completions"), json={"model": settings.llm_model, "messages": '
        '[{"role": "user", "content": "test"}]}, headers={"Authorization": '
        'f"Bearer {settings.openai_api_key.get_secret_value()}"})\n',
        {check_probes_when_all_is_well},
    ),
    Mutant(
        "has no probe for life",
        HEALTH,
        '@router.get("/livez")',
        '@router.get("/alive")',
        {check_probes_when_all_is_well},
    ),
    Mutant(
        "is ready without its database",
        HEALTH,
        "200 if ready else 503)",
        "200)",
        {check_database_loss_is_seen},
    ),
    Mutant(
        "does not look at its database",
        HEALTH,
        '"database": store.ping(),',
        '"database": asyncio.sleep(0),',
        {check_database_loss_is_seen},
    ),
    Mutant(
        "is healthy with 200 while it is unhealthy",
        HEALTH,
        '503 if status == "unhealthy" else 200',
        "200",
        {check_database_loss_is_seen},
    ),
    Mutant(
        "does not look at Redis",
        HEALTH,
        '"redis": shared.redis.ping(),',
        '"redis": asyncio.sleep(0),',
        {check_redis_loss_is_seen},
    ),
    Mutant(
        "is not ready without Redis",
        HEALTH,
        "ready = await works(request.app.state.store.ping())",
        "ready = all((await request.app.state.vitals.look()).values())",
        {check_redis_loss_is_seen, check_provider_loss_is_seen},
    ),
    Mutant(
        "does not look at the provider",
        HEALTH,
        '"llm": list_models(self._app.state.http, self._app.state.settings),',
        '"llm": asyncio.sleep(0),',
        {check_provider_loss_is_seen},
    ),
    Mutant(
        "remembers for ever what it saw first",
        HEALTH,
        "LOOK_AGAIN_AFTER_S = 1.0",
        "LOOK_AGAIN_AFTER_S = 1e6",
        {check_database_loss_is_seen, check_redis_loss_is_seen, check_provider_loss_is_seen},
    ),
    Mutant(
        "shows numbers that nobody can read",
        TELEMETRY,
        "return Response(prometheus_client.generate_latest(),",
        'return Response(b"requests = 7 of many\\n",',
        {check_metrics_can_be_scraped},
    ),
    Mutant(
        "names its counter otherwise",
        TELEMETRY,
        'Counter("llm_tokens_total"',
        'Counter("tokens_total"',
        {check_metrics_can_be_scraped},
    ),
    Mutant(
        "does not count refused input",
        TELEMETRY,
        "        REQUESTS.labels(",
        "        status != 422 and REQUESTS.labels(",
        {check_requests_are_counted},
    ),
    Mutant(
        "counts milliseconds as seconds",
        TELEMETRY,
        ".observe(seconds)",
        ".observe(1000 * seconds)",
        {check_requests_are_counted},
    ),
    Mutant(
        "does not measure durations",
        TELEMETRY,
        "        DURATION.labels(method, handler).observe(seconds)\n",
        "",
        {check_requests_are_counted, check_metrics_can_be_scraped},
    ),
    Mutant(
        "counts some tokens twice",
        TELEMETRY,
        TOKENS,
        "TOKENS.labels(model).inc(2 * tokens)",
        {check_tokens_and_hits_are_counted},
    ),
    Mutant(
        "counts all tokens under one name",
        TELEMETRY,
        TOKENS,
        'TOKENS.labels("model").inc(tokens)',
        {check_tokens_and_hits_are_counted},
    ),
    Mutant(
        "calls every answer a miss",
        TELEMETRY,
        "CACHE.labels(self.source).inc()",
        'CACHE.labels("miss").inc()',
        {check_tokens_and_hits_are_counted},
    ),
    Mutant(
        "does not count what it refuses",
        TELEMETRY,
        "            LIMITED.inc()\n",
        "            pass\n",
        {check_refusals_are_counted},
    ),
    Mutant(
        "has a series for each path", TELEMETRY, HANDLER, 'handler = self.scope["path"]', {check_labels_are_bounded}
    ),
    Mutant(
        "has a series for each unknown path",
        TELEMETRY,
        HANDLER,
        'handler = getattr(self.scope.get("route"), "path", self.scope["path"])',
        {check_labels_are_bounded},
    ),
]
