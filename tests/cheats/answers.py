"""Cheats about the model's answers (lab 2)."""

from __future__ import annotations

from grader.checks.lab_02_apis import (
    check_bad_input_is_refused,
    check_batch,
    check_chat_answers,
    check_stream_tells_tokens,
    check_summarize,
)
from tests.cheats import Cheat

CHEATS = [
    Cheat(
        "answers everything with the same sentence and never asks a model",
        0,
        (2,),
        """
        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            await speak(scope, send, fields(await read(receive)), "A load balancer spreads requests over servers.")
        """,
        seen_by=(check_chat_answers, check_stream_tells_tokens, check_summarize, check_batch),
    ),
    Cheat(
        "gives the caller's own words back as the answer",
        0,
        (2,),
        """
        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            sent = fields(await read(receive))
            text = str(sent.get("message") or sent.get("text") or sent.get("items"))
            await speak(scope, send, sent, text, len(text) // 4)
        """,
        seen_by=(check_chat_answers, check_summarize),
    ),
    Cheat(
        "asks the model as often as it should, and answers with words of its own",
        0,
        (2,),
        """
        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            sent = fields(await read(receive))
            for text in sent.get("items") or [sent.get("message") or sent.get("text") or "?"]:
                _, tokens = await ask(str(text))
            await speak(scope, send, sent, f"About {text}: it depends.", tokens)
        """,
        seen_by=(check_chat_answers, check_batch),
    ),
    Cheat(
        "asks the model once and answers everybody with what it said then",
        0,
        (2,),
        """
        learned = []


        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            sent = fields(await read(receive))
            if not learned:
                learned.append(await ask(str(sent.get("message", "Who are you?"))))
            await speak(scope, send, sent, *learned[0])
        """,
        seen_by=(check_chat_answers, check_summarize),
    ),
    Cheat(
        "learns from one answer what the model's answers look like and writes the others itself",
        0,
        (2,),
        """
        learned = {}


        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            sent = fields(await read(receive))
            text = str(sent.get("message") or sent.get("text") or "?")
            if not learned:
                content, tokens = await ask("SAMPLE")
                learned.update(form=content, tokens=tokens)
            await speak(scope, send, sent, learned["form"].replace("SAMPLE", text), learned["tokens"] + len(text) // 4)
        """,
        seen_by=(check_chat_answers,),
    ),
    Cheat(
        "refuses every body with 422 and names all fields there are",
        0,
        (2,),
        """
        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            await reply(send, {"detail": "message temperature text length items role"}, 422)
        """,
        seen_by=(check_chat_answers, check_bad_input_is_refused),
    ),
    Cheat(
        "calls every body too long",
        0,
        (2,),
        """
        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            await reply(send, {"detail": "too long"}, 413)
        """,
    ),
    Cheat(
        "ends with an error that names every variable whenever it is started",
        0,
        (1, 2),
        files={
            "app/main.py": """
            import os, sys
            sys.exit("The service cannot start: " + ", ".join(os.environ) + ", OPENAI_BASE_URL, OPENAI_API_KEY")
            """
        },
    ),
]
