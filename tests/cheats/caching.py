"""Cheats about the cache and about failing models (labs 5 and 7)."""

from __future__ import annotations

from grader.checks.lab_05_caching import check_same_question_is_a_hit
from grader.checks.lab_07_resilience import (
    check_errors_are_problems,
    check_fallback_answers,
    check_hopeless_calls_are_not_repeated,
    check_total_failure_is_503,
)
from tests.cheats import Cheat

CHEATS = [
    Cheat(
        "says HIT when a question comes again, and asks the model all the same",
        4,
        (5,),
        """
        seen = set()


        async def answer(scope, receive, send):
            if scope["path"] != "/chat":
                return await honest(scope, receive, send)
            data = await read(receive)
            message = str(fields(data).get("message")).strip()
            known = message in seen
            seen.add(message)
            status, headers, text = await heard(scope, data)
            if status == 200:
                text = json.dumps({**json.loads(text), "from_cache": known})
                headers = [*headers, ("x-cache", "HIT" if known else "MISS")]
            await tell(send, status, headers, text)
        """,
        seen_by=(check_same_question_is_a_hit,),
    ),
    Cheat(
        "sleeps when a question is new, so that its second time looks quick",
        4,
        (5,),
        """
        seen = set()


        async def answer(scope, receive, send):
            if scope["path"] != "/chat":
                return await honest(scope, receive, send)
            data = await read(receive)
            known = data in seen
            seen.add(data)
            if not known:
                await asyncio.sleep(0.4)
            status, headers, text = await heard(scope, data)
            await tell(send, status, [*headers, ("x-cache", "HIT" if known else "MISS")], text)
        """,
        seen_by=(check_same_question_is_a_hit,),
    ),
    Cheat(
        "calls every answer a HIT",
        4,
        (5,),
        """
        async def answer(scope, receive, send):
            if scope["path"] != "/chat":
                return await honest(scope, receive, send)
            status, headers, text = await heard(scope, await read(receive))
            if status == 200:
                text = json.dumps({**json.loads(text), "from_cache": True})
            await tell(send, status, [*headers, ("x-cache", "HIT")], text)
        """,
        seen_by=(check_same_question_is_a_hit,),
    ),
    Cheat(
        "asks the model the first time, and invents the answer when a question comes again",
        4,
        (5,),
        """
        seen = set()


        async def answer(scope, receive, send):
            if scope["path"] != "/chat":
                return await honest(scope, receive, send)
            data = await read(receive)
            sent = fields(data)
            known = str(sent.get("message")).strip() in seen
            seen.add(str(sent.get("message")).strip())
            if known:
                told = [("x-cache", "HIT")]
                return await speak(scope, send, sent, "As I said before.", headers=told, from_cache=True)
            status, headers, text = await heard(scope, data)
            if status == 200:
                text = json.dumps({**json.loads(text), "from_cache": False})
            await tell(send, status, [*headers, ("x-cache", "MISS")], text)
        """,
        seen_by=(check_same_question_is_a_hit,),
    ),
    Cheat(
        "answers with an apology of its own when the model fails, and calls that the fallback",
        6,
        (7,),
        """
        async def answer(scope, receive, send):
            if scope["path"] != "/chat":
                return await honest(scope, receive, send)
            status, headers, text = await heard(scope, await read(receive))
            if status < 500:
                return await tell(send, status, headers, text)
            model = os.environ["LLM_FALLBACK_MODEL"]
            apology = {"response": "Sorry, ask me later.", "tokens_used": 9, "model": model, "degraded": True}
            await reply(send, apology | {"from_cache": False}, headers=[("x-cache", "MISS")])
        """,
        seen_by=(check_fallback_answers, check_total_failure_is_503),
    ),
    Cheat(
        "is never there: every request is a well-formed 503",
        6,
        (7,),
        """
        async def answer(scope, receive, send):
            await read(receive)
            mark = header(scope, "x-request-id") or "r1"
            told = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "request_id": mark}
            await reply(
                send, json.dumps(told), 503, [("retry-after", "1"), ("x-request-id", mark)], "application/problem+json"
            )
        """,
        seen_by=(
            check_errors_are_problems,
            check_fallback_answers,
            check_hopeless_calls_are_not_repeated,
            check_total_failure_is_503,
        ),
    ),
    Cheat(
        "refuses whatever would ask the model, in due form, and serves the rest",
        6,
        (7,),
        """
        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            await read(receive)
            mark = header(scope, "x-request-id") or "r1"
            told = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "request_id": mark}
            await reply(
                send, json.dumps(told), 503, [("retry-after", "1"), ("x-request-id", mark)], "application/problem+json"
            )
        """,
        seen_by=(check_fallback_answers, check_total_failure_is_503),
    ),
]
