"""Error handling and graceful degradation."""

from __future__ import annotations

import math
import time

from grader import Api, Bench, Caller, Exchange, Fault, Lab, Provider, Stack, check, demand, expect
from grader.exchange import closing
from grader.messages import new_message, nonce
from grader.patience import Stopwatch, eventually

lab = Lab(minutes=75, users=1, env={"BREAKER_FAILURES": "1000", "LLM_TIMEOUT_S": "2"}, parts=3)

MOST_CALLS = 4


def served(api: Api) -> None:
    """Somebody is there to fail: with nothing in the way a message is answered."""
    expect(api.new_caller().chat()).status(200, because="nothing is wrong now")


# -- errors say what and nothing more ----


def errors_of(api: Api, services: Bench, provider: Provider, canary: str) -> list[Exchange]:
    """One error of each kind that the service can make."""
    caller, admin, anonymous = api.new_caller(), api.new_caller("admin"), api.anonymous
    tight = services.start(RATE_LIMIT_REQUESTS="1", MAX_BODY_BYTES="2000", LOGIN_MAX_FAILURES="1")
    limited, name = tight.new_caller(), nonce()
    limited.chat()
    tight.anonymous.post("/login", data={"username": name, "password": canary})
    with provider.fault(Fault.status(500, message=canary), canary):
        failed = caller.chat(f"{canary} {new_message()}")
        summary = caller.summarize(f"{canary} {new_message()}")
    return [
        failed,
        summary,
        anonymous.get(f"/{canary}"),
        anonymous.request("PUT", "/chat"),
        anonymous.post("/chat", json={"message": canary}),
        api.new_caller("guest").chat(canary),
        caller.chat(""),
        caller.post("/chat", content=b"{"),
        caller.post("/expensive-operation", params={"tokens_needed": 0}),
        admin.delete(f"/admin/users/{nonce()}"),
        anonymous.post("/login", data={"username": nonce(), "password": canary}),
        anonymous.post("/login", data={}),
        anonymous.get("/protected"),
        limited.chat(canary),
        limited.post("/chat", content=b'{"message": "%b"}' % (b"x" * 4000)),
        tight.anonymous.post("/login", data={"username": name, "password": canary}),
    ]


@check(
    points=3,
    hints=[
        "One form for all errors: RFC 9457, application/problem+json, with type, title, status and request_id.",
        "Handlers for HTTPException, RequestValidationError and Exception; Starlette's own 404 and 405 need it too.",
        "Never str(error): title and status are enough; the log has the rest under the same request_id.",
    ],
    waits=1,
)
def check_errors_are_problems(api: Api, services: Bench, provider: Provider) -> None:
    """Every error is an RFC 9457 problem with its request id, and shows nothing of the inside."""
    served(api)
    canary = nonce(16)
    for exchange in errors_of(api, services, provider, canary):
        demand(exchange.status is None or exchange.status >= 400, f"{exchange}, expected an error.", [exchange])
        expect(exchange).answered().problem().field("request_id", exchange.headers.get("x-request-id"))
        expect(exchange).lacks("Traceback", "a stack trace").lacks(str(services.submission.root), "a path")
        expect(exchange).lacks(api.settings.env["OPENAI_API_KEY"], "the provider's key")
        if exchange.path != f"/{canary}":
            expect(exchange).lacks(canary, "the input or the provider's error text")


# -- when the model fails ----


def fallback_answers(api: Api, provider: Provider, fault: Fault, what: str) -> Exchange:
    """Expect the fallback model's answer while the model fails."""
    message, caller = new_message(), api.new_caller()
    with provider.fault(fault, message, model=api.settings.env["LLM_MODEL"]):
        exchange = caller.chat(message)
    expect(exchange).status(200, because=f"the fallback model works while the model {what}")
    expect(exchange).header("X-Cache", "MISS").field("degraded", wanted=True)
    calls = provider.calls(message)
    fallback = api.settings.env["LLM_FALLBACK_MODEL"]
    good = [call for call in calls if call.model == fallback]
    demand(good, f"{exchange}, and the fallback model was never asked.", [exchange])
    expect(exchange).field("response", good[-1].content).field("model", fallback)
    demand(len(calls) <= MOST_CALLS, f"{exchange} after {len(calls)} completions; at most 4 are allowed.", [exchange])
    return exchange


@check(
    points=4,
    hints=[
        "What can go wrong with the model? It refuses, fails, hangs, breaks off, talks nonsense, says nothing.",
        "One function asks one model and raises one kind of error for all of it; another tries the next model.",
        'The answer of LLM_FALLBACK_MODEL carries "degraded": true, and its own name as model.',
    ],
)
def check_fallback_answers(api: Api, provider: Provider) -> None:
    """When the model answers 429 or 5xx, breaks off, or answers nonsense, the fallback model answers, degraded."""
    faults = {
        "answers 429": Fault.status(429, retry_after=30),
        "answers 500": Fault.status(500),
        "answers 503": Fault.status(503),
        "drops the connection": Fault.disconnect(),
        "answers with broken JSON": Fault.malformed(),
        "answers with a web page": Fault.html(),
        "answers with empty content": Fault.empty(),
        "leaves out the usage": Fault.no_usage(),
    }
    for what, fault in faults.items():
        fallback_answers(api, provider, fault, what)
    healthy = api.new_caller().chat()
    expect(healthy).status(200)
    demand(healthy.json.get("degraded", False) is False, f"{healthy} with degraded, and all is well.", [healthy])


@check(
    points=2,
    hints=["ChatOpenAI waits for ever by default.", "timeout=…, max_retries=0, and asyncio.timeout around all."],
    needs=(check_fallback_answers,),
    waits=1,
)
def check_slow_model_is_given_up(services: Bench, provider: Provider) -> None:
    """When the model hangs the fallback model answers, within two time-outs and 2 s."""
    api = services.start(LLM_TIMEOUT_S="1", BREAKER_FAILURES="1000")
    watch = Stopwatch()
    exchange = fallback_answers(api, provider, Fault.hang(), "hangs")
    watch.stop()
    watch.verify(4.0, "The answer while the model hangs (LLM_TIMEOUT_S=1)", [exchange])


@check(
    points=2,
    hints=["Nothing has been sent before the first token: there is still time to ask another model."],
    needs=(check_fallback_answers,),
)
def check_streams_fall_back(api: Api, provider: Provider) -> None:
    """A stream whose model fails before the first token comes from the fallback model."""
    for fault in (Fault.status(503), Fault.disconnect()):
        message = new_message()
        with provider.fault(fault, message, model=api.settings.env["LLM_MODEL"]):
            stream = api.new_caller().stream(message)
            stream.finish()
        expect(stream.exchange).status(200)
        text = "".join(event.json.get("text", "") for event in stream.events if event.name == "token")
        content = provider.calls(message, model=api.settings.env["LLM_FALLBACK_MODEL"])
        demand(content and text == content[-1].content, "The stream is not the fallback model's.", [stream.exchange])
        demand(
            [event.name for event in stream.events[-1:]] == ["done"],
            "The stream did not end with done.",
            [stream.exchange],
        )


@check(
    points=2,
    hints=["No answer is an error: 503 with Retry-After (whole seconds), not an apology with 200."],
)
def check_total_failure_is_503(api: Api, provider: Provider) -> None:
    """When every model fails and nothing is stored, the answer is 503 with Retry-After and no provider text."""
    served(api)
    canary = nonce(14)
    for fault in (Fault.status(500, message=canary), Fault.malformed(), Fault.empty()):
        message = f"{canary} {new_message()}"
        with provider.fault(fault, message):
            exchange = api.new_caller().chat(message)
        expect(exchange).status(503).header("Retry-After", str.isdecimal, what="whole seconds")
        expect(exchange).problem().lacks(canary, "the provider's error text")
        calls = provider.calls(message)
        demand(len(calls) <= MOST_CALLS, f"{exchange} after {len(calls)} completions; at most 4.", [exchange])


@check(
    points=2,
    hints=["A wrong request does not get better by repetition: retry 429, 5xx and time-outs only."],
)
def check_hopeless_calls_are_not_repeated(api: Api, provider: Provider) -> None:
    """When the provider answers 400, 401 or 404, each model is asked at most once, then 502 or 503."""
    served(api)
    for status in (400, 401, 404):
        message = new_message()
        with provider.fault(Fault.status(status), message):
            exchange = api.new_caller().chat(message)
        expect(exchange).status(502, 503)
        asked = [call.model for call in provider.calls(message)]
        demand(len(set(asked)) == len(asked), f"{exchange} after asking {asked}: one model twice.", [exchange])


@check(
    points=3,
    hints=[
        "Better an old answer than none: keep it longer than you call it fresh.",
        "Store it once for CACHE_STALE_TTL_S with the time of storing; fresh up to CACHE_TTL_S, stale after.",
        "X-Cache: STALE, from_cache and degraded true; for the same caller, message and temperature only.",
    ],
    needs=(check_total_failure_is_503,),
    waits=6,
)
def check_stale_answers_help(services: Bench, provider: Provider) -> None:
    """When every model fails, an earlier answer to the same question is served as STALE until CACHE_STALE_TTL_S."""
    api = services.start(CACHE_TTL_S="2", CACHE_STALE_TTL_S="5", BREAKER_FAILURES="1000")
    caller, message = api.new_caller(), new_message()
    first = caller.chat(message)
    expect(first).status(200)
    stored = time.monotonic()
    time.sleep(2.6)
    with provider.fault(Fault.status(500), message):
        stale = caller.chat(message)
        others = [caller.chat(message, temperature=0.1), api.new_caller().chat(message)]
        in_time = time.monotonic() - stored < 4.5
        time.sleep(max(0.0, stored + 5.6 - time.monotonic()))
        late = caller.chat(message)
    if in_time:
        expect(stale).status(200).header("X-Cache", "STALE").field("response", first.json["response"])
        expect(stale).field("degraded", wanted=True).field("from_cache", wanted=True)
    for exchange in others:
        expect(exchange).status(503, because="this caller has no earlier answer to this question")
    expect(late).status(503, because="the stored answer is older than CACHE_STALE_TTL_S")


@check(
    points=3,
    hints=[
        "Add up the time-outs, retries and pauses of the worst case: does it end in 2 * LLM_TIMEOUT_S + 2 s?",
        "Give the whole request one deadline, and every attempt what is left of it.",
        "A provider's Retry-After: 30 is no order to keep your caller waiting.",
    ],
    needs=(check_total_failure_is_503,),
    waits=4,
)
def check_deadlines_hold(services: Bench, provider: Provider) -> None:
    """When all models hang, routes answer within 2 T + 2 s after at most 4 completions, a batch in thrice that."""
    api = services.start(LLM_TIMEOUT_S="1", BREAKER_FAILURES="1000")
    tag, watch = nonce(), Stopwatch()
    texts = {path: f"{tag} {new_message()}" for path in ("/chat", "/chat/stream", "/summarize")}
    items = [f"{tag} {new_message()}" for _ in range(12)]
    with provider.fault(Fault.hang(), tag):
        bodies = {"/chat": "message", "/chat/stream": "message", "/summarize": "text"}
        single = [
            api.new_caller().begin("POST", path, json={name: texts[path]}, timeout=60) for path, name in bodies.items()
        ]
        batch = api.new_caller().begin("POST", "/batch-process", json={"items": items}, timeout=60)
        with closing([*single, batch]):
            answers = [pending.result() for pending in single]
            watch.stop()
            watch.verify(4.0, "With LLM_TIMEOUT_S=1 and hanging models, the slowest answer", answers)
            whole = batch.result()
            watch.stop()
    watch.verify(12.0, "With LLM_TIMEOUT_S=1 and hanging models, the batch", [whole])
    expect(answers[0]).status(503)
    expect(whole).status(200)
    for text in [*texts.values(), *items]:
        calls = provider.calls(text)
        demand(len(calls) <= MOST_CALLS, f"A request led to {len(calls)} completions; at most 4 are allowed.", answers)


@check(
    points=1,
    hints=["A stream may also hang in the middle: the time-out is to the first token and between two."],
    needs=(check_streams_fall_back,),
    waits=1,
)
def check_stalled_streams_end(services: Bench, provider: Provider) -> None:
    """A stream that stalls in the middle for longer than the time-out ends with an error event."""
    api = services.start(LLM_TIMEOUT_S="1")
    message = new_message()
    with provider.gate(message, after_tokens=2):
        watch = Stopwatch()
        stream = api.new_caller().stream(message, timeout=30)
        stream.finish()
        watch.stop()
    names = [event.name for event in stream.events]
    demand(
        names[-1:] == ["error"], f"The stalled stream's events were {names}; expected error last.", [stream.exchange]
    )
    watch.verify(4.0, "The end of a stalled stream (LLM_TIMEOUT_S=1)", [stream.exchange])


# -- the breaker ----

COOLDOWN = 2.0


def primary_calls(api: Api, provider: Provider, tag: str) -> int:
    """How often the first model was asked about texts with a tag."""
    return len(provider.calls(tag, model=api.settings.env["LLM_MODEL"]))


def chats(caller: Caller, tag: str, number: int) -> list[Exchange]:
    """Chat one after another."""
    return [caller.chat(f"{tag} {new_message()}") for _ in range(number)]


@check(
    points=3,
    hints=[
        "A model that has failed five times in a row will fail the sixth. Why ask, and wait?",
        "Count failures in a row per model; at BREAKER_FAILURES open: skip the model for BREAKER_COOLDOWN_S.",
        "A good answer sets the count to zero; a 400 says nothing about the model's health.",
    ],
    needs=(check_fallback_answers,),
)
def check_breaker_opens(services: Bench, provider: Provider) -> None:
    """After BREAKER_FAILURES failures in a row the model is left alone for the cool-down, and callers are served."""
    api = services.start(BREAKER_FAILURES="3", BREAKER_COOLDOWN_S="30", RATE_LIMIT_REQUESTS="100")
    caller, model = api.new_caller(), api.settings.env["LLM_MODEL"]
    for fault in (Fault.status(400), Fault.status(500)):
        tag = nonce()
        with provider.fault(fault, tag, model=model):
            answers = chats(caller, tag, 12)
        asked = primary_calls(api, provider, tag)
        if fault == Fault.status(400):
            demand(
                asked >= 10, f"Twelve requests, each answered 400, and the model was asked {asked} times.", answers[-1:]
            )
            continue
        for exchange in answers:
            expect(exchange).status(200, because="the fallback model works").field("degraded", wanted=True)
        demand(asked <= 3 + 3, f"With BREAKER_FAILURES=3 a failing model was asked {asked} times.", answers[-1:])
    expect(api.anonymous.get("/health")).field("checks", lambda told: "unhealthy" not in str(told.get("llm")))


@check(
    points=2,
    hints=["'In a row': what does a good answer do to the count?"],
    needs=(check_breaker_opens,),
    waits=1,
)
def check_breaker_counts_in_a_row(services: Bench, provider: Provider) -> None:
    """Failures that alternate with good answers never open the breaker."""
    api = services.start(BREAKER_FAILURES="5", BREAKER_COOLDOWN_S="30", RATE_LIMIT_REQUESTS="100")
    caller, tag = api.new_caller(), nonce()
    with provider.fault(Fault.status(500), tag, model=api.settings.env["LLM_MODEL"]):
        for _ in range(8):
            caller.chat(f"{tag} {new_message()}")
            exchange = caller.chat()
            expect(exchange).status(200)
            demand(
                not exchange.json.get("degraded"),
                "Failures with good answers between them opened the breaker.",
                [exchange],
            )


@check(
    points=3,
    hints=[
        "After the cool-down somebody must try. Everybody at once?",
        "One request is the probe; while it is under way the others go on as if the breaker were open.",
        "A good probe closes the breaker, a bad one opens it for another cool-down.",
    ],
    needs=(check_breaker_opens,),
    waits=5,
)
def check_breaker_sends_one_probe(services: Bench, provider: Provider) -> None:
    """After the cool-down at most one request tries the model; a good answer closes the breaker, a bad one does not."""
    api = services.start(BREAKER_FAILURES="2", BREAKER_COOLDOWN_S=str(int(COOLDOWN)), RATE_LIMIT_REQUESTS="200")
    caller, model, tag = api.new_caller(), api.settings.env["LLM_MODEL"], nonce()
    with provider.fault(Fault.status(500), tag, model=model):
        first = chats(caller, tag, 8)
        asked = provider.calls(tag, model=model)
        demand(asked, "Eight requests, and the model was never asked.", first[:1])
        opened = asked[-1]
        while time.monotonic() - opened.arrived < 1.6 * COOLDOWN:
            chats(caller, tag, 1)
            time.sleep(0.05)
        probes = [call for call in provider.calls(tag, model=model) if call.arrived > opened.arrived]
    _quiet(opened.finished or opened.arrived, [call.arrived for call in probes])
    quiet_since = (probes or [opened])[-1].arrived
    time.sleep(max(0.0, quiet_since + 1.3 * COOLDOWN - time.monotonic()))
    second = nonce()
    with provider.gate(second, model=model) as gate:
        pendings = [caller.begin_chat(f"{second} {new_message()}", timeout=20) for _ in range(8)]
        with closing(pendings):
            held = gate.wait_held(1, timeout=3)
            held = max(held, gate.wait_held(2, timeout=0.5))
            gate.open()
            answers = [pending.result() for pending in pendings]
    demand(held >= 1, "After the cool-down no request tried the model again.", answers[:1])
    demand(
        held == 1, f"After the cool-down {held} of 8 simultaneous requests tried the model; expected one.", answers[:1]
    )
    for exchange in answers:
        expect(exchange).status(200)
    closed = caller.chat()
    expect(closed).field("model", model, what=f"{model}, since the probe was answered well")


def _quiet(opened: float, arrivals: list[float]) -> None:
    early = [arrival - opened for arrival in arrivals if arrival - opened < 0.9 * COOLDOWN]
    demand(
        not early,
        f"{min(early, default=0):.2f} s after it opened the breaker let a call through; expected {COOLDOWN:g} s.",
    )


# -- when Redis or the database fails ----


@check(
    points=3,
    hints=[
        "Which lines fail when Redis is away? Each needs an answer to 'and then?'.",
        "Short time limits (connect and read below a second), and remember for a moment that it is away.",
        "No cache: a MISS. No limiter: count in the process until Redis is back.",
    ],
    exclusive=True,
    waits=4,
)
def check_redis_loss_is_survived(services: Bench, stack: Stack) -> None:
    """Without Redis answers still come, at most 1 s later, still limited; with it back it is used again."""
    for away in (stack.redis.stopped, stack.redis.frozen):
        api = services.start(RATE_LIMIT_REQUESTS="6", RATE_LIMIT_WINDOW_S="60", LOGIN_MAX_FAILURES="3", users=0)
        caller = api.new_caller()
        expect(api.new_caller().chat()).status(200)
        with away():
            _served_and_limited(api, caller)
            eventually(5.0, "Redis is away", lambda api=api: _degraded(api))
        eventually(5.0, "Redis is back", lambda api=api: _uses_redis(api))


def _served_and_limited(api: Api, caller: Caller) -> None:
    limit = api.settings.limit
    begun = time.monotonic()
    answers: list[Exchange] = []
    for _ in range(2 * limit + 2):
        watch = Stopwatch()
        answers.append(caller.chat(timeout=20))
        watch.stop()
        expect(answers[-1]).status(200, 429)
        watch.verify(1.0, "An answer while Redis is away", answers[-1:])
    passed = sum(each.status == 200 for each in answers)
    extra = math.floor((time.monotonic() - begun) * limit / api.settings.window)
    demand(passed >= 1, "While Redis was away every request was refused.", answers[:1])
    demand(
        passed <= limit + extra, f"While Redis was away {passed} requests passed; the limit is {limit}.", answers[-1:]
    )
    form = {"username": nonce(), "password": nonce()}
    tries = [api.anonymous.post("/login", data=form).status for _ in range(2 * 3 + 1)]
    demand(429 in tries, f"While Redis was away wrong logins were answered {tries}; expected 429 after three.")


def _degraded(api: Api) -> None:
    expect(api.anonymous.get("/health")).status(200).field("status", "degraded")


def _uses_redis(api: Api) -> None:
    expect(api.new_caller().chat()).status(200)
    demand(api.redis.dbsize() > 0, "A request after the return of Redis, and Redis holds nothing.")


@check(
    points=2,
    hints=["Who needs the database? Users do. API keys come from the environment.", "A lost database is 503, not 500."],
    exclusive=True,
)
def check_database_loss_is_survived(api: Api) -> None:
    """Without the database API keys still work; logins, tokens and user management are 503."""
    user, caller, admin = api.new_user(), api.new_caller(), api.new_caller("admin")
    token = api.bearer(api.mint(user.username))
    expect(token.get("/protected")).status(200)

    def refused() -> None:
        expect(api.anonymous.get("/readyz")).status(503)
        expect(api.login(user)).status(503)
        expect(token.get("/protected")).status(503)
        expect(token.chat()).status(503)
        expect(admin.delete(f"/admin/users/{nonce()}")).status(503)

    with api.without_database():
        eventually(5.0, "The database is gone", refused)
        expect(caller.chat()).status(200, because="API keys do not need the database")
        expect(caller.summarize()).status(200)
        expect(caller.post("/expensive-operation", params={"tokens_needed": 1})).status(200)
    eventually(5.0, "The database is back", lambda: expect(token.get("/protected")).status(200))


@check(
    points=2,
    hints=[
        "What does the service do at start that needs Redis, the provider or the database?",
        "Try again later, in the background.",
    ],
    exclusive=True,
)
def check_starts_without_its_dependencies(services: Bench, stack: Stack, provider: Provider) -> None:
    """The service starts while Redis, provider and database are away, and makes its tables when it can."""
    with stack.redis.stopped(), provider.refused():
        api, database = services.start_without_database(users=1)
        expect(api.anonymous.get("/livez")).status(200)
        expect(api.new_caller().chat(timeout=30)).status(503)
    database.repair()
    user = api.new_user()
    eventually(6.0, "The database is back", lambda: expect(api.login(user)).status(200))
    eventually(6.0, "The provider is back", lambda: served(api))


@check(
    points=1,
    hints=["When the process must end, an open stream deserves a last word: event: error."],
    needs=(check_streams_fall_back,),
    timeout=90,
    waits=5,
)
def check_open_streams_end_with_an_error(services: Bench, provider: Provider) -> None:
    """A stream that is still open when the service must end gets an error event."""
    api = services.start(LLM_TIMEOUT_S="60")
    message = new_message()
    with provider.gate(message, after_tokens=2) as gate:
        stream = api.new_caller().stream(message, timeout=60)
        demand(gate.wait_held(1) == 1, "POST /chat/stream never reached the provider.", [stream.exchange])
        stream.wait_for(1)
        api.service.terminate()
        stream.finish()
    names = [event.name for event in stream.events]
    demand(names[-1:] == ["error"], f"At the end of the service the stream's events were {names}.", [stream.exchange])
