"""Building APIs with FastAPI."""

from __future__ import annotations

import json

from grader import Api, Bench, Caller, Exchange, Fault, Lab, Provider, check, demand, expect, new_message, nonce
from grader.exchange import Stream, closing
from grader.patience import Stopwatch

# Faults of this lab must not open lab 7's breaker for the checks that follow.
lab = Lab(minutes=60, env={"BREAKER_FAILURES": "1000"})

ASTRAL = "🙂"


def one_call(provider: Provider, text: str, exchange: Exchange) -> Provider.Call:  # type: ignore[name-defined]
    """Return the only completion that a text led to."""
    calls = provider.calls(text)
    demand(len(calls) == 1, f"{exchange}, and the provider was called {len(calls)} times; expected once.", [exchange])
    return calls[0]


@check(
    points=3,
    hints=[
        "The answer is the model's, the number of tokens is the provider's: nothing in it is yours to make up.",
        "LangChain's message has .content, .usage_metadata and .response_metadata.",
        'tokens_used is usage_metadata["total_tokens"], model the name that you called.',
    ],
)
def check_chat_answers(api: Api, provider: Provider) -> None:
    """POST /chat answers with the provider's text, its token count, and the name of the model that was called."""
    seen = set()
    for _ in range(2):
        message = new_message()
        exchange = api.new_caller().chat(message)
        expect(exchange).status(200)
        call = one_call(provider, message, exchange)
        expect(exchange).field("response", call.content).field("tokens_used", call.total_tokens)
        expect(exchange).field("model", call.model)
        seen.add(exchange.json["response"])
    demand(len(seen) == 2, "Two different messages got one and the same answer.", [exchange])


@check(
    points=1,
    hints=["The model's name is a setting: LLM_MODEL.", "Read it once at start; pass it to ChatOpenAI(model=…)."],
    needs=(check_chat_answers,),
)
def check_model_is_a_setting(services: Bench, provider: Provider) -> None:
    """The model named by LLM_MODEL is the one that is called."""
    name = f"lab-{nonce(5)}"
    message = new_message()
    exchange = services.start(LLM_MODEL=name).new_caller().chat(message)
    expect(exchange).status(200).field("model", name)
    call = one_call(provider, message, exchange)
    demand(call.model == name, f"LLM_MODEL is {name}, and the provider was asked for {call.model}.", [exchange])


@check(
    points=2,
    hints=[
        "What reaches the provider when nothing is given, and when something is?",
        "The module's listing accepts a temperature and ignores it. Bind it: model.bind(temperature=…).",
    ],
    needs=(check_chat_answers,),
)
def check_temperature_is_passed_on(api: Api, provider: Provider) -> None:
    """The temperature reaches the provider; 0.7 when none is given, and 0, 1 and 2 are allowed."""
    for given in (None, 0, 1, 2, 1.25):
        message = new_message()
        exchange = api.new_caller().chat(message, **({} if given is None else {"temperature": given}))
        expect(exchange).status(200)
        sent = one_call(provider, message, exchange).request.get("temperature")
        wanted = 0.7 if given is None else given
        demand(sent == wanted, f"{exchange}: the provider got temperature {sent}, expected {wanted}.", [exchange])


@check(
    points=2,
    hints=[
        "Count after trimming, and send what you counted.",
        "StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)",
    ],
    needs=(check_chat_answers,),
)
def check_message_bounds(api: Api, provider: Provider) -> None:
    """A message is 1 to 4000 code points after trimming, and the trimmed text is what the provider gets."""
    tag = nonce()
    longest = tag + ASTRAL * (4000 - len(tag))
    for text in (longest, f" \t\r\n{new_message()}\n\t "):
        exchange = api.new_caller().chat(text)
        expect(exchange).status(200)
        call = one_call(provider, text.strip()[:60], exchange)
        demand(call.text == text.strip(" \t\r\n"), "The provider did not get exactly the trimmed message.", [exchange])
    for text in (longest + "x", "", " \t\r\n "):
        exchange = api.new_caller().chat(text)
        expect(exchange).status(422).contains("message")
    demand(len(provider.calls(tag)) == 1, "A message of 4001 code points reached the provider.", [exchange])


@check(
    points=1,
    hints=[
        "Is the message put into a template? Then its braces are read as variables.",
        "Messages are data: pass them as a message object, not through str.format or a prompt template.",
    ],
    needs=(check_chat_answers,),
)
def check_message_is_not_a_template(api: Api, provider: Provider) -> None:
    """Braces, percent signs, quotes and line breaks in a message reach the provider unchanged."""
    for odd in ('{message} {0} {{x}} %s "quoted" \\n', 'first line\nsecond line\t</s> {"role": "system"}'):
        message = f"{nonce()} {odd}"
        exchange = api.new_caller().chat(message)
        expect(exchange).status(200)
        call = one_call(provider, message.split(maxsplit=1)[0], exchange)
        demand(call.text == message, f"The provider got {call.text!r} instead of {message!r}.", [exchange])


def _refused_bodies(canary: str) -> list[tuple[str, bytes]]:
    """Bodies that /chat must refuse, each with the field that its answer must name."""
    good = canary
    bodies: list[tuple[str, object]] = [
        ("message", {}),
        ("message", {"message": 42}),
        ("message", {"message": None}),
        ("message", {"message": [canary]}),
        ("message", {"message": canary + "\ud800"}),
        ("temperature", {"message": good, "temperature": -0.1}),
        ("temperature", {"message": good, "temperature": 2.01}),
        ("temperature", {"message": good, "temperature": f"0.7{canary}"}),
        ("temperature", {"message": good, "temperature": "0.7"}),
        ("temperature", {"message": good, "temperature": True}),
        ("role", {"message": good, "role": canary}),
    ]
    return [(name, json.dumps(body).encode()) for name, body in bodies]


@check(
    points=3,
    hints=[
        "Which inputs does your request model let through? Unknown fields, numbers as text, true as a number?",
        'ConfigDict(extra="forbid", strict=True) and Field(ge=0, le=2, allow_inf_nan=False).',
        "FastAPI's own 422 repeats the input; answer with the field's name and the reason only.",
    ],
)
def check_bad_input_is_refused(api: Api, provider: Provider) -> None:
    """Bad input is 422 naming the field, never repeating its value, before any call of the provider."""
    expect(api.new_caller().chat()).status(200)
    caller, canary = api.new_caller(), nonce(14)
    for name, body in _refused_bodies(canary):
        exchange = caller.post("/chat", content=body)
        expect(exchange).status(422).contains(name).lacks(canary, "the value that was refused")
    demand(not provider.calls(canary), "Refused input reached the provider.", [exchange])


@check(
    points=1,
    hints=["JSON has no NaN, though Python's parser reads it.", "A broken body is the caller's error: 4xx."],
)
def check_malformed_json_is_refused(api: Api, provider: Provider) -> None:
    """Malformed JSON, NaN and Infinity are 422 or 400, and a wrong method is 405."""
    expect(api.new_caller().chat()).status(200)
    caller, canary = api.new_caller(), nonce(14)
    bodies = [b"{", b'{"message": "' + canary.encode(), b"\xff\xfe", b"[]", b'"text"', b"[" * 20000]
    bodies += [b'{"message": "%b", "temperature": %b}' % (canary.encode(), odd) for odd in (b"NaN", b"Infinity")]
    for body in bodies:
        expect(caller.post("/chat", content=body)).status(422, 400)
    demand(not provider.calls(canary), "A malformed body reached the provider.")
    expect(caller.get("/chat")).status(405)


@check(
    points=2,
    hints=[
        "FastAPI reads bodies of any length. Who counts?",
        "Content-Length can be missing: count the bytes of http.request messages in a small ASGI middleware.",
        "Declared too long: answer 413 at once. Chunked: as soon as the count passes MAX_BODY_BYTES.",
    ],
)
def check_long_bodies_are_refused(services: Bench) -> None:
    """A body beyond MAX_BODY_BYTES is 413, declared or chunked, and one just below is read."""
    api = services.start(MAX_BODY_BYTES="20000")
    caller = api.new_caller()
    valid = json.dumps({"items": [nonce() + ASTRAL * 900 for _ in range(8)]}, ensure_ascii=False).encode()
    for chunked in (False, True):
        expect(caller.prepare("POST", "/batch-process", content=valid, chunked=chunked).begin().result()).status(413)
    below = json.dumps({"message": "x" * 19_000}).encode()
    expect(caller.post("/chat", content=below)).status(422, because="its length is allowed and its message too long")


def _alive(api: Api) -> Exchange:
    """Ask whether the loop turns: /livez, or /health before lab 6."""
    exchange = api.anonymous.get("/livez")
    return api.anonymous.get("/health") if exchange.status == 404 else exchange


@check(
    points=3,
    hints=[
        "While one caller waits for the model, everybody else must be served.",
        "A blocking call in an async function stops the event loop: await model.ainvoke(…), or use def.",
    ],
    needs=(check_chat_answers,),
)
def check_waiting_blocks_nobody(api: Api, provider: Provider) -> None:
    """While the provider keeps requests waiting, the service goes on answering."""
    with provider.gate() as gate, closing([api.new_caller().begin_chat() for _ in range(4)]) as pendings:
        demand(gate.wait_held(1) >= 1, "POST /chat never reached the provider.", [pendings[0].exchange()])
        watch = Stopwatch()
        alive = _alive(api)
        watch.stop()
        expect(alive).status(200, because="requests that wait for the provider must not stop the event loop")
        watch.verify(1.0, "The answer to a health check while requests wait for the provider", [alive])
        gate.open()
        for pending in pendings:
            expect(pending.result()).status(200)


def tokens_of(stream: Stream) -> str:
    """The text of all token events."""
    return "".join(str(event.json.get("text", "")) for event in stream.events if event.name == "token")


@check(
    points=3,
    hints=[
        "An answer as text/event-stream: event: token, data: {…}, an empty line.",
        "async for chunk in model.astream(…): yield one event per chunk, and done with the usage at the end.",
        "With a base_url of its own LangChain reports no usage in streams unless stream_usage=True.",
    ],
)
def check_stream_tells_tokens(api: Api, provider: Provider) -> None:
    """POST /chat/stream sends the provider's text as token events, then done with the token count."""
    message = new_message()
    stream = api.new_caller().stream(message)
    stream.finish()
    exchange = stream.exchange
    expect(exchange).status(200).content_type("text/event-stream")
    call = one_call(provider, message, exchange)
    demand(tokens_of(stream) == call.content, "The token events do not add up to the provider's text.", [exchange])
    demand(stream.events, "The stream ended without any event.", [exchange])
    last = stream.events[-1]
    demand(last.name == "done", f"The last event is {last.name!r}, expected 'done'.", [exchange])
    told = last.json.get("tokens_used")
    demand(told == call.total_tokens, f"done says {told} tokens, the provider {call.total_tokens}.", [exchange])


@check(
    points=2,
    hints=[
        "The first token must leave before the last has come.",
        "Return StreamingResponse over an async generator; collect nothing.",
    ],
    needs=(check_stream_tells_tokens,),
)
def check_stream_is_live(api: Api, provider: Provider) -> None:
    """The first token reaches the client before the provider sends the third."""
    message = new_message()
    with provider.gate(message, after_tokens=2) as gate:
        stream = api.new_caller().stream(message)
        demand(gate.wait_held(1) == 1, "POST /chat/stream never reached the provider.", [stream.exchange])
        events = stream.wait_for(1, within=5)
        demand(
            any(event.name == "token" for event in events),
            "The provider has sent two tokens and waits; the client has been sent none.",
            [stream.exchange],
        )
        gate.open()
        stream.finish()
    demand(
        [event.name for event in stream.events[-1:]] == ["done"], "The stream did not end with done.", [stream.exchange]
    )


@check(
    points=2,
    hints=[
        "A stream that breaks off must say so: nobody can take back a 200.",
        "LangChain ends silently when the provider's stream is cut: without a finish_reason send event: error.",
    ],
    needs=(check_stream_tells_tokens,),
)
def check_broken_stream_is_told(api: Api, provider: Provider) -> None:
    """When the provider breaks off in mid-stream the client gets an error event, and no done."""
    message = new_message()
    with provider.fault(Fault.cut(after_tokens=3), message):
        stream = api.new_caller().stream(message)
        stream.finish()
    names = [event.name for event in stream.events]
    told = "error" in names and "done" not in names
    demand(told, f"The events were {names}; expected error and no done.", [stream.exchange])


@check(
    points=1,
    hints=["Ask for the first chunk before you answer 200; then a failure can still become 503."],
    needs=(check_stream_tells_tokens,),
)
def check_failed_stream_is_told(api: Api, provider: Provider) -> None:
    """A stream that fails before its first token is 503 (or 502), or 200 with an error event only."""
    message = new_message()
    with provider.fault(Fault.status(400), message):
        stream = api.new_caller().stream(message)
        stream.finish()
    exchange = stream.exchange
    expect(exchange).status(503, 502, 200)
    if exchange.status == 200:
        names = [event.name for event in stream.events]
        demand(names == ["error"], f"The events were {names}; expected a single error.", [exchange])


@check(
    points=2,
    hints=[
        "Tokens that nobody reads are paid for all the same.",
        "When the client goes away the generator is cancelled, if it is asynchronous and lets CancelledError through.",
        "Before the first token nobody writes to the client: watch request.is_disconnected() beside the model call.",
    ],
    needs=(check_stream_tells_tokens,),
)
def check_leaving_stops_the_provider(api: Api, provider: Provider) -> None:
    """When a client leaves a stream, the provider's call is stopped within 2 s, also before the first token."""
    for tokens in (2, 0):
        message = new_message()
        with provider.gate(message, after_tokens=tokens) as gate:
            stream = api.new_caller().stream(message)
            demand(gate.wait_held(1) == 1, "POST /chat/stream never reached the provider.", [stream.exchange])
            if tokens:
                stream.wait_for(1, within=5)
            watch = Stopwatch()
            stream.close()
            stopped = provider.wait_for(1, message, state="cancelled", timeout=6)
            watch.stop()
        when = "in mid-stream" if tokens else "before the first token"
        demand(stopped, f"A client left {when}, and 6 s later the provider is still at work.", [stream.exchange])
        watch.verify(2.0, f"Stopping the provider after the client left {when}", [stream.exchange])


@check(
    points=2,
    hints=["One prompt for each length; the summary is the model's text.", "Literal['short', 'medium', 'long']"],
)
def check_summarize(api: Api, provider: Provider) -> None:
    """POST /summarize answers with the provider's summary, and asks differently for each length."""
    requests = set()
    text = f"{new_message()} and what came of it in the end."
    for length in ("short", "medium", "long", None):
        exchange = api.new_caller().summarize(text, **({"length": length} if length else {}))
        expect(exchange).status(200)
        calls = provider.calls(text)
        demand(calls, f"{exchange}, and the provider was never asked.", [exchange])
        call = calls[-1]
        summary = expect(exchange).find("summary")
        demand(call.content.strip() in summary, f"{exchange} without the provider's text as summary.", [exchange])
        expect(exchange).field("tokens_used", call.total_tokens)
        requests.add(json.dumps({k: v for k, v in call.request.items() if k != "stream"}, sort_keys=True))
    demand(len(requests) == 3, "Two lengths led to the same request, or the default is not medium.", [exchange])


@check(points=1, hints=["Field(min_length=10, max_length=10_000), and blank is not a text."], needs=(check_summarize,))
def check_summarize_bounds(api: Api, provider: Provider) -> None:
    """A text to summarize has 10 to 10 000 code points and is not blank; the length is one of three words."""
    tag = nonce()
    expect(api.new_caller().summarize(tag + ASTRAL * (10_000 - len(tag)))).status(200)
    refused: list[tuple[str, object, str]] = [
        ("text", tag + ASTRAL * (10_001 - len(tag)), "short"),
        ("text", "too short", "short"),
        ("text", " " * 40, "short"),
        ("text", 12345678901, "short"),
        ("length", new_message(), "huge"),
    ]
    for name, text, length in refused:
        exchange = api.new_caller().post("/summarize", json={"text": text, "length": length})
        expect(exchange).status(422).contains(name)
    demand(len(provider.calls(tag)) == 1, "A text that is too long reached the provider.", [exchange])


@check(
    points=2,
    hints=["Results in the order of the items: item (as it was sent), response, error."],
)
def check_batch(api: Api, provider: Provider) -> None:
    """POST /batch-process answers every item, in order, with the provider's text."""
    items = [f"{new_message()} " for _ in range(5)]
    exchange = api.new_caller().batch(items)
    results = expect(exchange).status(200).find("results")
    demand([each.get("item") for each in results] == items, "The items are not those sent, in their order.", [exchange])
    for item, result in zip(items, results, strict=True):
        call = one_call(provider, item.strip(), exchange)
        demand(result.get("response") == call.content, f"{item!r} did not get the provider's answer.", [exchange])
        demand("error" in result and result["error"] is None, "error must be there, and null on success.", [exchange])


@check(points=1, hints=["Field(min_length=1, max_length=20), and every item is a message."], needs=(check_batch,))
def check_batch_bounds(api: Api, provider: Provider) -> None:
    """A batch has 1 to 20 items, each a message; else 422 before any call of the provider."""
    tag = nonce()
    refused: list[list[object]] = [[], [f"{tag} {n}" for n in range(21)], [tag, " "], [tag, 7], [tag, "x" * 4001]]
    for items in refused:
        expect(api.new_caller().batch(items)).status(422).contains("items")
    demand(not provider.calls(tag), "Items of a refused batch reached the provider.")
    expect(api.new_caller().batch([new_message() for _ in range(20)])).status(200)


@check(
    points=3,
    hints=[
        "One after the other is slow, all at once is rude.",
        "asyncio.Semaphore(8) around each completion; asyncio.TaskGroup or gather over all items.",
    ],
    needs=(check_batch,),
)
def check_batch_is_bounded(api: Api, provider: Provider) -> None:
    """A batch of many items keeps 4 to 8 completions in flight."""
    tag = nonce()
    items = [f"{tag} {new_message()}" for _ in range(14)]
    with provider.gate(tag) as gate:
        pending = api.new_caller().begin("POST", "/batch-process", json={"items": items}, timeout=30)
        held = gate.wait_held(4)
        demand(held >= 4, f"Of 14 items {held} were with the provider at once; expected 4 to 8.", [pending.exchange()])
        gate.wait_held(9, timeout=0.3)
        gate.open()
        exchange = pending.result()
    expect(exchange).status(200)
    peak = _peak(provider, tag)
    demand(peak <= 8, f"{peak} completions were in flight at once; expected at most 8.", [exchange])


def _peak(provider: Provider, tag: str) -> int:
    """The most calls that were under way at one time, by the provider's own times."""
    moments = [(call.arrived, 1) for call in provider.calls(tag)]
    moments += [(call.finished, -1) for call in provider.calls(tag) if call.finished is not None]
    level = peak = 0
    for _, step in sorted(moments):
        level += step
        peak = max(peak, level)
    return peak


@check(
    points=2,
    hints=[
        "One item's failure is that item's result, not the batch's.",
        "Catch inside the function that handles one item; tell that it failed, not what the provider said.",
    ],
    needs=(check_batch,),
)
def check_batch_items_fail_alone(api: Api, provider: Provider) -> None:
    """A failing item fails no other, a batch of failures is still 200, and no provider text is shown."""
    bad, canary = nonce(), nonce(14)
    items = [new_message(), f"{bad} {new_message()}", new_message()]
    with provider.fault(Fault.status(400, message=canary), bad):
        mixed = api.new_caller().batch(items)
        failed = api.new_caller().batch([f"{bad} {new_message()}" for _ in range(3)])
    for exchange, wanted in ((mixed, [True, False, True]), (failed, [False] * 3)):
        results = expect(exchange).status(200).lacks(canary, "the provider's error text").find("results")
        answered = [isinstance(each.get("response"), str) and each.get("error") is None for each in results]
        demand(answered == wanted, f"Items answered: {answered}, expected {wanted}.", [exchange])
        told = [bool(each.get("error")) and each.get("response") is None for each in results]
        demand(told == [not good for good in wanted], "A failed item needs an error and a null response.", [exchange])


@check(
    points=2,
    hints=[
        "A wrong setting should stop the deployment, not the first customer.",
        "pydantic-settings: required fields without default, ranges by Field, hide_input_in_errors=True.",
        "Make the settings at import or in the lifespan, and let the error end the process; it names the variable.",
    ],
)
def check_settings_fail_fast(services: Bench) -> None:
    """A setting that is absent, empty or wrong ends the process with a line that names it and not its value."""
    refuses(services, "OPENAI_BASE_URL", None)
    refuses(services, "OPENAI_API_KEY", "")
    refuses(services, "LLM_TIMEOUT_S", "0")
    refuses(services, "MAX_BODY_BYTES", f"many{nonce()}")
    refuses(services, "MAX_BODY_BYTES", "1023")


def refuses(services: Bench, name: str, value: str | None) -> None:
    """The service refuses to start with a variable set so (None: absent)."""
    end = services.refuses(**{name: value})
    shown = "absent" if value is None else "empty" if not value else "wrong"
    demand(end.code != 0, f"With {name} {shown} the service ended with exit code 0; it must not look like success.")
    named = any(name.lower() in line.lower() for line in end.lines)
    demand(named, f"With {name} {shown} the service ended, and no line it wrote names {name}.")
    if value and len(value) > 4:
        demand(not any(value in line for line in end.lines), f"The refused value of {name} stands in the output.")


__all__ = ["Caller", "lab", "refuses"]
