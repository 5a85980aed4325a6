"""Cheats about what a service tells of itself: logs, health, metrics (lab 6)."""

from __future__ import annotations

from grader.checks.lab_06_observability import (
    check_access_records,
    check_database_loss_is_seen,
    check_labels_are_bounded,
    check_lines_are_json,
    check_metrics_can_be_scraped,
    check_probes_when_all_is_well,
    check_requests_are_counted,
)
from tests.cheats import Cheat

CHEATS = [
    Cheat(
        "shows a page of metrics that never change",
        5,
        (6,),
        '''
        METRICS = """# TYPE http_requests_total counter
        http_requests_total{method="GET",handler="/health",status="200"} 1027
        http_requests_total{method="POST",handler="/summarize",status="200"} 12
        # TYPE http_request_duration_seconds histogram
        http_request_duration_seconds_bucket{le="0.1"} 24054
        http_request_duration_seconds_bucket{le="+Inf"} 144320
        http_request_duration_seconds_sum 53423
        http_request_duration_seconds_count 144320
        # TYPE llm_tokens_total counter
        llm_tokens_total{model="lab-large"} 4711
        # TYPE cache_requests_total counter
        cache_requests_total{result="hit"} 30
        cache_requests_total{result="miss"} 70
        # TYPE rate_limited_total counter
        rate_limited_total 3
        """.replace("        ", "")


        async def answer(scope, receive, send):
            if scope["path"] == "/metrics":
                return await reply(send, METRICS, 200, (), "text/plain; version=0.0.4; charset=utf-8")
            await honest(scope, receive, send)
        ''',
        seen_by=(check_metrics_can_be_scraped, check_requests_are_counted, check_labels_are_bounded),
    ),
    Cheat(
        "adds up all numbers at every look at its metrics, whatever has happened",
        5,
        (6,),
        """
        looks = 0
        NAMES = {
            "http_requests_total": 'method="POST",handler="/summarize",status="200"',
            "http_request_duration_seconds_bucket": 'le="+Inf"',
            "http_request_duration_seconds_sum": "",
            "http_request_duration_seconds_count": "",
            "llm_tokens_total": 'model="lab-large"',
            "cache_requests_total": 'result="hit"',
            "rate_limited_total": "",
        }


        async def answer(scope, receive, send):
            global looks
            if scope["path"] != "/metrics":
                return await honest(scope, receive, send)
            looks += 1
            lines = [name + "{" + labels + "} " + str(2 * looks) for name, labels in NAMES.items()]
            await reply(send, "\\n".join(lines) + "\\n", 200, (), "text/plain; version=0.0.4; charset=utf-8")
        """,
        seen_by=(check_requests_are_counted,),
    ),
    Cheat(
        "says that all is well, whatever happens",
        5,
        (6,),
        """
        async def answer(scope, receive, send):
            if scope["path"] in {"/livez", "/readyz", "/health"}:
                parts = dict.fromkeys(("llm", "database", "redis"), "healthy")
                told = {"status": "healthy", "timestamp": "2026-01-01T00:00:00Z", "checks": parts}
                return await reply(send, told)
            await honest(scope, receive, send)
        """,
        seen_by=(check_probes_when_all_is_well, check_database_loss_is_seen),
    ),
    Cheat(
        "writes no line at all but one that suits everybody",
        5,
        (6,),
        """
        out = os.fdopen(os.dup(1), "w")
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)


        async def answer(scope, receive, send):
            print('{"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": "served"}', file=out, flush=True)
            await honest(scope, receive, send)
        """,
        seen_by=(check_lines_are_json, check_access_records),
    ),
    Cheat(
        "writes the same access record for every request",
        5,
        (6,),
        """
        out = os.fdopen(os.dup(1), "w")
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        RECORD = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": "request", "request_id": "r1"}
        RECORD |= {"method": "POST", "path": "/chat", "status": 200, "duration_ms": 12}


        async def answer(scope, receive, send):
            print(json.dumps(RECORD), file=out, flush=True)
            await honest(scope, receive, send)
        """,
        seen_by=(check_lines_are_json, check_access_records),
    ),
    Cheat(
        "gives every answer the same request id and process time",
        5,
        (6,),
        """
        async def answer(scope, receive, send):
            status, headers, text = await heard(scope, await read(receive))
            told = [("x-request-id", "3f2b8c"), ("x-process-time", "0.012")]
            await tell(send, status, [*headers, *told], text)
        """,
    ),
]
