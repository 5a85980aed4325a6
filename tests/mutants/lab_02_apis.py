"""Faults of lab 2, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_02_apis import (
    check_bad_input_is_refused,
    check_batch,
    check_batch_bounds,
    check_batch_is_bounded,
    check_batch_items_fail_alone,
    check_broken_stream_is_told,
    check_chat_answers,
    check_failed_stream_is_told,
    check_leaving_stops_the_provider,
    check_long_bodies_are_refused,
    check_malformed_json_is_refused,
    check_message_bounds,
    check_message_is_not_a_template,
    check_model_is_a_setting,
    check_settings_fail_fast,
    check_stream_is_live,
    check_stream_tells_tokens,
    check_summarize,
    check_summarize_bounds,
    check_temperature_is_passed_on,
    check_waiting_blocks_nobody,
)
from tests.mutants import Mutant

BODY_LIMIT = "app/body_limit.py"
CHAT = "app/chat.py"
ERROR_EVENT = 'yield event("error", {"message": "The model broke off."})'
MESSAGE = "StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_MESSAGE)"
MODEL = "app/model.py"
PROBLEMS = "app/problems.py"
RESILIENCE = "app/resilience.py"
SCHEMAS = "app/schemas.py"
SETTINGS = "app/settings.py"
TEMPERATURE = "Field(ge=0, le=2, allow_inf_nan=False)]"
TEXT = r'StringConstraints(min_length=10, max_length=10_000, pattern=r"\S")'
WHOLE = 'Completion(text, usage["total_tokens"], self.name)'

MUTANTS = [
    Mutant(
        "tells a constant number of tokens",
        MODEL,
        WHOLE,
        "Completion(text, 100, self.name)",
        {check_chat_answers, check_stream_tells_tokens, check_summarize},
    ),
    Mutant(
        "counts the tokens of the answer only",
        MODEL,
        WHOLE,
        'Completion(text, usage["output_tokens"], self.name)',
        {check_chat_answers, check_stream_tells_tokens, check_summarize},
    ),
    Mutant(
        "answers with a text of its own",
        MODEL,
        "Completion(text, usage",
        'Completion("As you wish.", usage',
        {check_chat_answers, check_batch, check_summarize},
    ),
    Mutant("trims the model's answer", MODEL, WHOLE, WHOLE.replace("(text", "(text[1:]"), {check_chat_answers}),
    Mutant(
        "always names the usual model",
        MODEL,
        WHOLE,
        WHOLE.replace("self.name", '"lab-large"'),
        {check_model_is_a_setting},
    ),
    Mutant(
        "always calls the usual model",
        MODEL,
        "            model=name,",
        '            model="lab-large",',
        {check_model_is_a_setting},
    ),
    Mutant(
        "ignores the temperature",
        MODEL,
        "self._llm.ainvoke(conversation(prompt), temperature=prompt.temperature)",
        "self._llm.ainvoke(conversation(prompt))",
        {check_temperature_is_passed_on},
    ),
    Mutant(
        "has another temperature when none is given",
        SCHEMAS,
        f"{TEMPERATURE} = 0.7",
        f"{TEMPERATURE} = 1.0",
        {check_temperature_is_passed_on},
    ),
    Mutant(
        "lets temperatures be any number",
        SCHEMAS,
        TEMPERATURE,
        "Field(allow_inf_nan=False)]",
        {check_bad_input_is_refused},
    ),
    Mutant(
        "lets NaN pass",
        SCHEMAS,
        TEMPERATURE,
        "Field()]",
        {check_malformed_json_is_refused},
    ),
    Mutant(
        "takes messages of any length",
        SCHEMAS,
        MESSAGE,
        "StringConstraints(strip_whitespace=True, min_length=1)",
        {check_message_bounds},
    ),
    Mutant(
        "takes one character too many",
        SCHEMAS,
        "LONGEST_MESSAGE = 4000",
        "LONGEST_MESSAGE = 4001",
        {check_message_bounds, check_batch_bounds},
    ),
    Mutant(
        "takes blank messages",
        SCHEMAS,
        MESSAGE,
        MESSAGE.replace("min_length=1", "min_length=0"),
        {check_message_bounds},
    ),
    Mutant("does not trim", SCHEMAS, MESSAGE, MESSAGE.replace("strip_whitespace=True, ", ""), {check_message_bounds}),
    Mutant(
        "reads the message as a template",
        MODEL,
        "HumanMessage(prompt.text)",
        "HumanMessage(prompt.text.replace('{message}', '').replace('{0}', ''))",
        {check_message_is_not_a_template},
    ),
    Mutant(
        "swallows unknown fields",
        SCHEMAS,
        'strict=True, extra="forbid"',
        'strict=True, extra="ignore"',
        {check_bad_input_is_refused},
    ),
    Mutant(
        "reads numbers from text", SCHEMAS, "strict=True, extra", "strict=False, extra", {check_bad_input_is_refused}
    ),
    Mutant(
        "repeats what was refused",
        PROBLEMS,
        '"msg": e["msg"]} for e',
        '"msg": e["msg"], "input": str(e.get("input"))} for e',
        {check_bad_input_is_refused},
    ),
    Mutant(
        "does not say which field is wrong",
        PROBLEMS,
        '"loc": list(e["loc"]), ',
        "",
        {check_bad_input_is_refused, check_message_bounds},
    ),
    Mutant(
        "answers bad input with 500",
        PROBLEMS,
        'return problem(422, "The request',
        'return problem(500, "The request',
        {check_bad_input_is_refused, check_malformed_json_is_refused, check_message_bounds},
    ),
    Mutant(
        "limits declared bodies only",
        BODY_LIMIT,
        'received += len(message.get("body", b""))',
        "received += 0",
        {check_long_bodies_are_refused},
    ),
    Mutant(
        "knows one body limit for all",
        BODY_LIMIT,
        'limit = scope["app"].state.settings.max_body_bytes',
        "limit = 262_144",
        {check_long_bodies_are_refused},
    ),
    Mutant(
        "blocks the event loop",
        MODEL,
        "reply = await self._llm.ainvoke(",
        "reply = self._llm.invoke(",
        {check_waiting_blocks_nobody, check_batch_is_bounded},
    ),
    Mutant(
        "collects a stream before it sends it",
        CHAT,
        "            async for token in tokens:\n                if isinstance",
        "            for token in [each async for each in tokens]:\n                if isinstance",
        {check_stream_is_live},
    ),
    Mutant(
        "sends the first token only",
        CHAT,
        'yield event("token", {"text": token})',
        'yield event("token", {"text": token[:1]})',
        {check_stream_tells_tokens},
    ),
    Mutant(
        "calls a broken stream done",
        CHAT,
        ERROR_EVENT,
        'yield event("done", {"tokens_used": 0})',
        {check_broken_stream_is_told},
    ),
    Mutant("ends a broken stream in silence", CHAT, ERROR_EVENT, "return", {check_broken_stream_is_told}),
    Mutant(
        "answers 500 where a stream cannot begin",
        PROBLEMS,
        'return problem(502, "The model',
        'return problem(500, "The model',
        {check_failed_stream_is_told},
    ),
    Mutant(
        "does not watch whether the client is still there",
        RESILIENCE,
        'while (await request.receive())["type"] != "http.disconnect":\n        pass',
        "await asyncio.Event().wait()",
        {check_leaving_stops_the_provider},
    ),
    Mutant("summarizes to one length only", CHAT, "SENTENCES[task.length]", "SENTENCES['medium']", {check_summarize}),
    Mutant(
        "takes texts of any length",
        SCHEMAS,
        TEXT,
        r'StringConstraints(min_length=10, pattern=r"\S")',
        {check_summarize_bounds},
    ),
    Mutant(
        "summarizes blank texts",
        SCHEMAS,
        TEXT,
        "StringConstraints(min_length=10, max_length=10_000)",
        {check_summarize_bounds},
    ),
    Mutant(
        "knows any length of summary",
        SCHEMAS,
        'Length = Literal["short", "medium", "long"]',
        'Length = Literal["short", "medium", "long", "huge"]',
        {check_summarize_bounds},
    ),
    Mutant(
        "mixes up the items of a batch",
        CHAT,
        "map(result, batch.items)",
        "map(result, reversed(batch.items))",
        {check_batch},
    ),
    Mutant(
        "gives items back trimmed",
        CHAT,
        "BatchResult(item=item, response",
        "BatchResult(item=item.strip(), response",
        {check_batch},
    ),
    Mutant(
        "takes batches of any size",
        SCHEMAS,
        "Field(min_length=1, max_length=20)",
        "Field(min_length=1)",
        {check_batch_bounds},
    ),
    Mutant(
        "takes empty batches",
        SCHEMAS,
        "Field(min_length=1, max_length=20)",
        "Field(max_length=20)",
        {check_batch_bounds},
    ),
    Mutant("handles a batch one by one", CHAT, "ITEMS_AT_ONCE = 7", "ITEMS_AT_ONCE = 1", {check_batch_is_bounded}),
    Mutant("handles a batch all at once", CHAT, "ITEMS_AT_ONCE = 7", "ITEMS_AT_ONCE = 1000", {check_batch_is_bounded}),
    Mutant(
        "lets one item fail the batch",
        CHAT,
        "            except ModelError:\n                return BatchResult",
        "            except KeyError:\n                return BatchResult",
        {check_batch_items_fail_alone},
    ),
    Mutant(
        "hides that an item failed",
        CHAT,
        'BatchResult(item=item, error="The model gave no answer.")',
        'BatchResult(item=item, response="Sorry.")',
        {check_batch_items_fail_alone},
    ),
    Mutant("takes any number as a body limit", SETTINGS, "Field(ge=1024)", "Field(ge=1)", {check_settings_fail_fast}),
    Mutant(
        "has a provider of its own where none is given",
        SETTINGS,
        "openai_base_url: AnyHttpUrl\n",
        'openai_base_url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:9/v1")\n',
        {check_settings_fail_fast},
    ),
    Mutant(
        "ends well although a setting is wrong",
        SETTINGS,
        'raise SystemExit("The service cannot start. " + "; ".join(problems)) from None',
        'print("; ".join(problems))\n            raise SystemExit(0) from None',
        {check_settings_fail_fast},
    ),
    Mutant(
        "prints the wrong setting",
        SETTINGS,
        "{e['msg']}\" for e in error.errors(include_input=False)",
        "{e['msg']} {e['input']}\" for e in error.errors()",
        {check_settings_fail_fast},
    ),
]
