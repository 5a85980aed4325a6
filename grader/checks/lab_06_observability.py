"""Logging and monitoring."""

from __future__ import annotations

import contextlib
import random
import re
import time
from typing import Any

from grader import Api, Bench, Broken, Caller, Exchange, Fault, Lab, Provider, Stack, check, demand, expect
from grader.exchange import closing
from grader.exposition import Reading
from grader.logbook import Logbook, Record, verify
from grader.messages import new_message, nonce
from grader.patience import Stopwatch, eventually
from grader.ports import ReservedPort

lab = Lab(minutes=75, users=1, env={"BREAKER_FAILURES": "1000"})

SETTLING = 5.0
GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def varied_traffic(api: Api, provider: Provider, request_ids: list[str]) -> list[Exchange]:
    """Requests with all kinds of answers, each with a request id of ours."""
    failing = new_message()
    caller, anonymous = api.new_caller(), api.anonymous
    bad_login = {"username": nonce(), "password": nonce()}

    def sent(who: Caller, method: str, path: str, **options: Any) -> Exchange:  # noqa: ANN401  # a body of any kind
        request_ids.append(f"t-{nonce()}")
        return who.request(method, path, headers={"X-Request-ID": request_ids[-1]}, **options)

    with provider.fault(Fault.status(400), failing):
        return [
            sent(caller, "POST", "/chat", json={"message": new_message()}),
            sent(caller, "POST", "/chat/stream", json={"message": new_message()}),
            sent(caller, "POST", "/chat", json={"message": failing}),
            sent(caller, "POST", "/chat", json={"message": ""}),
            sent(caller, "POST", "/chat", content=b"{"),
            sent(anonymous, "POST", "/chat", json={"message": new_message()}),
            sent(anonymous, "POST", "/login", data=bad_login),
            sent(anonymous, "GET", f"/{nonce()}"),
            sent(anonymous, "PUT", "/chat"),
            sent(anonymous, "GET", "/health"),
        ]


# -- logs ----


@check(
    points=3,
    hints=[
        "One event, one line, one JSON object: on stdout or stderr, uvicorn's own lines included.",
        "structlog with JSONRenderer, or logging with a JSON formatter on the root handler.",
        "uvicorn's loggers have handlers of their own: clear them and let the records propagate.",
    ],
)
def check_lines_are_json(api: Api, provider: Provider) -> None:
    """Every line is a JSON object with timestamp, level, message or event, and within a request its request_id."""
    expect(api.anonymous.get("/health")).answered()
    book = Logbook(api.service)
    ids: list[str] = []
    varied_traffic(api, provider, ids)
    book.access(ids[-1])
    records = book.records()
    demand(records, "Ten requests led to no line of output at all.")
    for record in records:
        verify(record)
    demand(told_about(records) & set(ids), "Ten requests led to no line that has the request_id of one of them.")


def told_about(records: list[Record]) -> set[object]:
    """The requests that records tell of."""
    return {record.get("request_id") for record in records}


@check(
    points=1,
    hints=["uvicorn says good-bye through its own loggers: uvicorn and uvicorn.error have handlers of their own."],
    needs=(check_lines_are_json,),
)
def check_last_words_are_json(services: Bench) -> None:
    """The lines that the service writes while it ends are JSON objects too."""
    api = services.start()
    expect(api.new_caller().chat()).status(200)
    book = Logbook(api.service)
    api.service.terminate()
    api.service.process.wait(15)
    for record in book.records():
        verify(record)


@check(
    points=3,
    hints=[
        "A middleware around everything sees every answer, errors included.",
        "Write it in pure ASGI: note the status at http.response.start, log in finally.",
        "Switch uvicorn's access log off, or there are two records of each request.",
    ],
)
def check_access_records(api: Api, provider: Provider) -> None:
    """Each answered request has exactly one access record: method, path or route, status, duration_ms, request_id."""
    book = Logbook(api.service)
    ids: list[str] = []
    for exchange, request_id in zip(varied_traffic(api, provider, ids), ids, strict=True):
        found = book.access(request_id)
        demand(len(found) == 1, f"{exchange} has {len(found)} access records; expected exactly one.", [exchange])
        record = found[0]
        right = str(record["status"]) == str(exchange.status) and record["method"] == exchange.method
        demand(right, f"{exchange}, and its access record says {record['method']} and {record['status']}.", [exchange])
        duration = record["duration_ms"]
        fits = isinstance(duration, int | float) and 0 <= duration <= 1000 * (exchange.seconds + 5)
        demand(fits, f"{exchange} after {exchange.seconds:.3f} s, and duration_ms is {duration!r}.", [exchange])


@check(
    points=3,
    hints=[
        "Logs are read by many: no key, token, password, message or answer belongs there.",
        "Query strings carry secrets: log the path or the route, not the URL.",
        "Exceptions carry them too: log their type, and mind the libraries' own loggers (httpx, openai).",
    ],
    needs=(check_lines_are_json,),
)
def check_secrets_stay_out(api: Api, provider: Provider) -> None:
    """No line holds a key, a token, a password, a message, an answer, or what came in a header or a query string."""
    book = Logbook(api.service)
    user, caller = api.new_user(), api.new_caller()
    marks = {what: nonce(18) for what in ("message", "failing message", "header", "query", "password", "key", "batch")}
    answer = caller.chat(f"{new_message()} {marks['message']}", timeout=20)
    with provider.fault(Fault.status(500, message=marks["failing message"]), marks["failing message"]):
        caller.chat(f"{marks['failing message']} {new_message()}")
    caller.batch([f"{marks['batch']} {new_message()}"])
    caller.get(f"/health?token={marks['query']}", headers={"Cookie": f"session={marks['header']}"})
    api.anonymous.get(f"/{nonce()}?password={marks['query']}")
    api.login(user, marks["password"])
    api.with_headers({"X-API-Key": marks["key"]}).chat()
    token = api.token(user)
    last = api.bearer(token).get("/protected", headers={"X-Request-ID": f"end-{nonce()}"})
    book.access(last.request_id)
    secrets = {**marks, "answer": answer.json.get("response", "")[-40:], "API key": caller.headers["X-API-Key"]}
    secrets |= {"token": token, "signature of a token": token.rpartition(".")[2], "password of a user": user.password}
    for line in book.lines():
        for what, secret in secrets.items():
            demand(not secret or secret not in line, f"A line of the output holds the {what}: {line[:160]!r}")


@check(
    points=1,
    hints=["What does a line break in a user name do to a log made with f-strings?", "A JSON encoder escapes it."],
    needs=(check_lines_are_json,),
)
def check_lines_cannot_be_forged(api: Api) -> None:
    """Line breaks in what callers send forge no line."""
    book, mark = Logbook(api.service), nonce()
    forged = f'x\n{{"level": "info", "event": "{mark}", "timestamp": "2020-01-01T00:00:00Z"}}\r\n'
    api.anonymous.post("/login", data={"username": forged, "password": forged})
    api.new_caller().chat(forged)
    last = api.anonymous.get(f"/%0d%0a%7B%22event%22:%22{mark}%22%7D%0a", headers={"X-Request-ID": f"f-{mark}x"})
    book.access(last.request_id)
    for record in book.records():
        written = record.get("event", record.get("message"))
        demand(written != mark, f"A caller has written a log line of their own: {dict(record)}")


@check(
    points=2,
    hints=[
        "The caller's id if it is harmless, else one of yours; on every answer.",
        "re.fullmatch(r'[A-Za-z0-9._-]{1,64}', value); uuid4().hex otherwise.",
        "The outermost middleware sets the header, so 401, 404, 405, 413, 422 and 500 have it too.",
    ],
)
def check_request_ids(api: Api, provider: Provider) -> None:
    """X-Request-ID is taken over when it is harmless, else made; every answer carries it."""
    ids: list[str] = []
    for exchange, request_id in zip(varied_traffic(api, provider, ids), ids, strict=True):
        expect(exchange).header("X-Request-ID", request_id)
    made = set()
    hostile: list[str | bytes] = ["a" * 65, "with space", 'quo"te', "<b>", "semi;colon", b"\xe9t\xe9", ""]
    for odd in hostile:
        exchange = api.anonymous.get("/health", headers={"X-Request-ID": odd})
        what = "an id of the service's own, 1 to 64 of [A-Za-z0-9._-]"
        expect(exchange).header("X-Request-ID", lambda told: bool(GOOD_ID.fullmatch(told)), what=what)
        made.add(exchange.headers["x-request-id"])
    longest = "Az09._-" + "x" * 57
    expect(api.anonymous.get("/health", headers={"X-Request-ID": longest})).header("X-Request-ID", longest)
    demand(len(made) == len(hostile), "Several requests were given the same request id.")


@check(
    points=2,
    hints=["Where is the id kept while many requests are under way at once?", "contextvars: each task has its own."],
    needs=(check_access_records, check_request_ids),
)
def check_ids_do_not_mix(api: Api, provider: Provider) -> None:
    """When many requests are under way at once, each answer and each record has its own request's id."""
    book, tag = Logbook(api.service), nonce()
    ids = [f"mix-{n}-{tag}" for n in range(8)]
    with provider.gate(tag) as gate:
        body = {"message": f"{tag} {new_message()}"}
        callers = [(api.new_caller(), {"X-Request-ID": each}) for each in ids]
        pendings = [one.begin("POST", "/chat", json=body, headers=headers) for one, headers in callers]
        with closing(pendings):
            gate.wait_held(len(ids))
            other = api.anonymous.get(f"/{nonce()}", headers={"X-Request-ID": f"other-{tag}"})
            gate.open()
            answers = [pending.result() for pending in pendings]
    for exchange, request_id in zip([*answers, other], [*ids, f"other-{tag}"], strict=True):
        expect(exchange).header("X-Request-ID", request_id)
        found = book.access(request_id)
        statuses = [str(each["status"]) for each in found]
        demand(statuses == [str(exchange.status)], f"{exchange}, and the records of its id say {statuses}.", [exchange])


@check(points=1, hints=["Seconds, as a decimal, until the answer begins: set it at http.response.start."])
def check_process_time(api: Api, provider: Provider) -> None:
    """X-Process-Time gives the seconds until the answer began."""
    message = new_message()
    with provider.gate(message) as gate:
        pending = api.new_caller().begin_chat(message)
        gate.wait_held(1)
        held = time.monotonic()
        pending.answered(within=0.4)
        held = time.monotonic() - held
        gate.open()
        exchange = pending.result()
    expect(exchange).status(200).header("X-Process-Time", _is_seconds, what="a number of seconds")
    told, most = float(exchange.headers["x-process-time"]), exchange.seconds + 0.05
    fits = held - 0.05 <= told <= most
    demand(fits, f"{exchange} after {exchange.seconds:.3f} s, and X-Process-Time says {told}.", [exchange])
    expect(api.anonymous.get(f"/{nonce()}")).header("X-Process-Time", _is_seconds, what="a number of seconds")


def _is_seconds(value: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d+)?([eE]-?\d+)?", value))


# -- health ----


@check(
    points=2,
    hints=[
        "Three questions: does the process turn, may it get traffic, how is it?",
        "/livez asks nobody, /readyz asks the database, /health asks all three.",
    ],
)
def check_probes_when_all_is_well(services: Bench, provider: Provider) -> None:
    """/livez, /readyz, /health answer 200 without credentials, spend no token, and believe in no Redis that is away."""
    before = len(provider.calls(kind="chat")) + len(provider.calls(kind="embeddings"))
    api = services.start()
    for path in ("/livez", "/readyz", "/health"):
        expect(api.anonymous.get(path)).status(200)
    exchange = api.anonymous.get("/health")
    expect(exchange).status(200).field("status", "healthy").field("timestamp", lambda text: isinstance(text, str))
    for part in ("llm", "database", "redis"):
        demand(part_status(exchange, part) == "healthy", f"{exchange}, and checks.{part} is not healthy.", [exchange])
    after = len(provider.calls(kind="chat")) + len(provider.calls(kind="embeddings"))
    demand(before == after, "A health check has called the model; it is asked every few seconds and costs each time.")
    expect(exchange).lacks(api.settings.env["OPENAI_API_KEY"], "the provider's key")
    with contextlib.closing(ReservedPort()) as nowhere:
        lonely = services.start(REDIS_URL=f"redis://127.0.0.1:{nowhere.number}/0")
        eventually(SETTLING, "Redis was never there", lambda: without_redis(lonely))


def without_redis(api: Api) -> None:
    """Expect /health to tell that Redis is away."""
    told_of(api, "redis", "unhealthy", ("degraded", "unhealthy"), (200, 503))


def part_status(exchange: Exchange, part: str) -> str:
    """What /health says of one part."""
    told = expect(exchange).find(f"checks.{part}")
    return str(told.get("status") if isinstance(told, dict) else told)


def told_of(api: Api, part: str, wanted: str, overall: tuple[str, ...], status: tuple[int, ...]) -> None:
    """Expect /health to tell of one part and of the whole."""
    exchange = api.anonymous.get("/health")
    expect(exchange).status(*status).field("status", lambda told: told in overall, what=" or ".join(overall))
    if exchange.json["status"] == "unhealthy":
        expect(exchange).status(503, because="the service calls itself unhealthy")
    found = part_status(exchange, part)
    demand(found == wanted, f"{exchange}, and checks.{part} is {found}, expected {wanted}.", [exchange])


@check(
    points=3,
    hints=[
        "Really ask: SELECT 1 with a time limit of a second or two.",
        "A hard dependency: /readyz 503, /health unhealthy and 503; /livez stays 200, or the process is restarted.",
    ],
    needs=(check_probes_when_all_is_well,),
    exclusive=True,
    waits=2,
)
def check_database_loss_is_seen(api: Api) -> None:
    """Without its database the service lives, is not ready and is unhealthy; and recovers when it is back."""

    def seen() -> None:
        told_of(api, "database", "unhealthy", ("unhealthy",), (503,))
        expect(api.anonymous.get("/readyz")).status(503)

    with api.without_database():
        eventually(SETTLING, "The database is gone", seen)
        expect(api.anonymous.get("/livez")).status(200)
    eventually(SETTLING, "The database is back", lambda: all_well(api))


def all_well(api: Api) -> None:
    """Expect the probes to say that all is well."""
    told_of(api, "database", "healthy", ("healthy",), (200,))
    expect(api.anonymous.get("/readyz")).status(200)


@check(
    points=2,
    hints=["PING with a time limit.", "Redis is a soft dependency: say degraded, stay ready."],
    needs=(check_probes_when_all_is_well,),
    exclusive=True,
    waits=3,
)
def check_redis_loss_is_seen(api: Api, stack: Stack) -> None:
    """Without Redis /health tells so, while the service lives and is ready; and recovers when it is back."""
    with stack.redis.stopped():
        eventually(SETTLING, "Redis is gone", lambda: without_redis(api))
        for path in ("/livez", "/readyz"):
            expect(api.anonymous.get(path)).status(200)
    eventually(SETTLING, "Redis is back", lambda: told_of(api, "redis", "healthy", ("healthy",), (200,)))


@check(
    points=2,
    hints=["GET /v1/models is free and proves that the provider answers.", "A completion as a probe costs money."],
    needs=(check_probes_when_all_is_well,),
    exclusive=True,
    waits=3,
)
def check_provider_loss_is_seen(api: Api, provider: Provider) -> None:
    """When the provider refuses connections /health tells so, while the service lives and is ready."""
    with provider.refused():
        eventually(
            SETTLING,
            "The provider is gone",
            lambda: told_of(api, "llm", "unhealthy", ("degraded", "unhealthy"), (200, 503)),
        )
        for path in ("/livez", "/readyz"):
            expect(api.anonymous.get(path)).status(200)
    eventually(SETTLING, "The provider is back", lambda: told_of(api, "llm", "healthy", ("healthy",), (200,)))


# -- metrics ----


@check(
    points=2,
    hints=[
        "prometheus_client: Counter, Histogram, generate_latest with CONTENT_TYPE_LATEST.",
        "Counter names end in _total, durations are in seconds. Mind that two routes /metrics hide one another.",
    ],
)
def check_metrics_can_be_scraped(api: Api) -> None:
    """/metrics is text that Prometheus' own parser reads, has the contract's families, and counts what comes."""
    expect(api.new_caller().chat()).status(200)
    reading = Reading.of(api)
    wanted = {
        "http_requests_total": ("method", "handler", "status"),
        "http_request_duration_seconds_bucket": ("le",),
        "http_request_duration_seconds_sum": (),
        "llm_tokens_total": ("model",),
        "cache_requests_total": ("result",),
        "rate_limited_total": (),
    }
    for name, labels in wanted.items():
        with_labels = f" with {', '.join(labels)}" if labels else ""
        demand(reading.has(name, *labels), f"/metrics has no {name}{with_labels}.", [reading.exchange])
    sent = random.Random(nonce()).randint(3, 40)
    for _ in range(sent):
        expect(api.anonymous.chat()).status(401)
    after = Reading.of(api)
    grown = _grown(reading, after, "http_requests_total", method="POST", status="401")
    # The last one may be counted a moment after its answer; how exactly all are counted is asked further down.
    alive = sent - 1 <= grown <= sent
    demand(alive, f"{sent} POST were answered 401, and http_requests_total grew by {grown:g}.", [after.exchange])


@check(
    points=3,
    hints=[
        "Count in the outermost middleware, so that refusals and errors count too.",
        'The handler is the route template ("/chat-status/{task_id}"), from scope["route"], not the path.',
    ],
    needs=(check_metrics_can_be_scraped,),
)
def check_requests_are_counted(api: Api, provider: Provider) -> None:
    """http_requests_total and the histogram grow by exactly what was sent, by route and status."""
    before, caller, slow = Reading.of(api), api.new_caller(), new_message()
    expect(caller.summarize()).status(200)
    expect(caller.summarize("short")).status(422)
    expect(api.anonymous.post("/summarize", json={})).status(401)
    with provider.gate(slow) as gate:
        pending = caller.begin("POST", "/summarize", json={"text": slow})
        gate.wait_held(1)
        pending.answered(within=0.3)
        gate.open()
        expect(pending.result()).status(200)
    after = Reading.of(api)
    for labels, wanted in (({"status": "200"}, 2), ({"status": "422"}, 1)):
        grown = _grown(before, after, "http_requests_total", handler="/summarize", method="POST", **labels)
        demand(grown == wanted, f"{wanted} POST /summarize with {labels}, counted {grown:g}.", [after.exchange])
    refused = _grown(before, after, "http_requests_total", status="401")
    demand(refused == 1, f"One request was answered 401, http_requests_total counts {refused:g}.", [after.exchange])
    counted = _grown(before, after, "http_request_duration_seconds_count")
    demand(counted >= 4, f"Four requests, and the histogram has counted {counted:g}.", [after.exchange])
    seconds = _grown(before, after, "http_request_duration_seconds_sum")
    demand(0.25 <= seconds <= 60, f"The durations of the requests add up to {seconds:g}; seconds?", [after.exchange])


def _grown(before: Reading, after: Reading, name: str, **labels: str) -> float:
    return after.total(name, **labels) - before.total(name, **labels)


@check(
    points=2,
    hints=["Tokens are counted where the provider's usage is read; a cached answer uses none."],
    needs=(check_metrics_can_be_scraped,),
)
def check_tokens_and_hits_are_counted(api: Api, provider: Provider) -> None:
    """llm_tokens_total grows by the provider's usage, cache_requests_total by one a chat and its hits by one a HIT."""
    before, caller, message = Reading.of(api), api.new_caller(), new_message()
    expect(caller.chat(message)).status(200).header("X-Cache", "MISS")
    for _ in range(2):
        expect(caller.chat(message)).status(200).header("X-Cache", "HIT")
    after, used = Reading.of(api), sum(call.total_tokens for call in provider.calls(message))
    model = api.settings.env["LLM_MODEL"]
    figures = [
        ("llm_tokens_total", {"model": model}, used),
        ("llm_tokens_total", {}, used),
        ("cache_requests_total", {}, 3),
        ("cache_requests_total", {"result": "hit"}, 2),
    ]
    for name, labels, wanted in figures:
        grown = _grown(before, after, name, **labels)
        demand(grown == wanted, f"{name}{labels or ''} grew by {grown:g}, expected {wanted}.", [after.exchange])


@check(points=1, hints=["Count where the 429 is raised."], needs=(check_metrics_can_be_scraped,))
def check_refusals_are_counted(services: Bench) -> None:
    """rate_limited_total grows by one for each 429 of a provider route."""
    api = services.start(RATE_LIMIT_REQUESTS="3", RATE_LIMIT_WINDOW_S="60")
    caller, before = api.new_caller(), Reading.of(api)
    # Three may pass, and three more where the process counts by itself because Redis seems to be away.
    refused = sum(caller.chat().status == 429 for _ in range(8))
    grown = _grown(before, Reading.of(api), "rate_limited_total")
    demand(refused >= 2, "Eight requests at RATE_LIMIT_REQUESTS=3, and fewer than two were refused.")
    demand(grown == refused, f"{refused} requests were answered 429, rate_limited_total grew by {grown:g}.")


@check(
    points=2,
    hints=[
        "Every label value is a time series that lives as long as the process. Who chooses the values?",
        "Unknown paths: one value. Methods that HTTP does not know: one value. Never a user, an id or a raw path.",
    ],
    needs=(check_metrics_can_be_scraped,),
)
def check_labels_are_bounded(api: Api) -> None:
    """Unknown paths, ids in paths and odd methods make no new series each."""
    api.anonymous.get(f"/{nonce()}")
    api.anonymous.request("BREW", "/chat")
    api.anonymous.get(f"/chat-status/{nonce()}")
    api.anonymous.delete(f"/admin/users/{nonce()}")
    before, tag = Reading.of(api), nonce()
    for n in range(25):
        api.anonymous.get(f"/{tag}/{n}")
        api.anonymous.get(f"/chat-status/{tag}{n}")
        api.anonymous.delete(f"/admin/users/{tag}{n}")
        api.anonymous.request(f"X{tag.upper()}{n}", "/chat")
    after = Reading.of(api)
    demand(tag.lower() not in after.exchange.text.lower(), "Paths or methods that callers made up stand in /metrics.")
    grown = len(after.samples) - len(before.samples)
    demand(grown < 40, f"A hundred odd requests added {grown} series to /metrics.", [after.exchange])


@check(guard=True, hints=["A probe that waits for a dependency must give up by itself."], exclusive=True)
def check_health_answers_in_time(api: Api, stack: Stack) -> None:
    """While Redis hangs /health still answers within 5 s."""
    with stack.redis.frozen():
        watch = Stopwatch()
        exchange = api.anonymous.get("/health", timeout=30)
        watch.stop()
        expect(exchange).answered()
    watch.verify(SETTLING, "The answer of /health while Redis hangs", [exchange])
    if exchange.status == 404:
        raise Broken(f"{exchange}.", [exchange])
