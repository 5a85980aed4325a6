"""Rate limiting."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable

from grader import Api, Bench, Broken, Inconclusive, Lab, Provider, burst, check, demand, expect, new_message
from grader.allowance import (
    Surplus,
    Tally,
    announced,
    clear_of_boundary,
    retry_after,
    sleep_into_boundary,
    sleep_until,
    surely,
)
from grader.lifetimes import lasting, lifetimes
from grader.limited import (
    EXPENSIVE,
    LONG,
    brisk,
    exhaust,
    knock,
    misconfigured,
    pair,
    rate,
    spend,
    verify_refusals,
    visit,
)
from grader.messages import nonce
from grader.refusals import PROVIDER_ROUTES, challenged, valid_body

# A window so long that next to nothing is gained while requests are counted, however busy the machine is.
lab = Lab(minutes=75, users=2, parts=2, env={"RATE_LIMIT_WINDOW_S": LONG})

PROXY_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP")


@check(
    points=3,
    hints=[
        "Count each caller's requests before the provider is called, and refuse beyond RATE_LIMIT_REQUESTS.",
        "A dependency of the provider routes: it knows the caller and raises HTTPException(429).",
        'A 429 says when to come back: headers={"Retry-After": str(math.ceil(seconds))}, at least 1.',
    ],
    waits=1,
)
def check_the_allowance_runs_out(api: Api, provider: Provider) -> None:
    """A caller's first RATE_LIMIT_REQUESTS requests pass; more are 429 with Retry-After, before any provider call."""
    surely(lambda: _runs_out(api, provider), Surplus)


def _runs_out(api: Api, provider: Provider) -> None:
    caller, tag, limit = api.new_caller(), nonce(), api.settings.limit
    clear_of_boundary(api.settings.window)
    # So many that, where nobody counts, more pass than any trouble of the machine would excuse.
    tally = Tally.of([caller.chat(f"{tag} {new_message()}") for _ in range(2 * limit + 5)])
    Tally(tally.exchanges[:limit]).verify(limit, rate(api), "at first")
    tally.verify(limit, rate(api), "one after another", window=api.settings.window)
    verify_refusals(api, tally.refused)
    calls = len(provider.calls(tag))
    passed = len(tally.passed)
    demand(calls == passed, f"{passed} requests passed, and {calls} reached the provider.", tally.refused[:1])


@check(
    points=3,
    hints=[
        "Between reading the count and writing it, other requests read it too.",
        "Look and count in one step: INCR tells the new count, or a Lua script does all of it inside Redis.",
    ],
    needs=(check_the_allowance_runs_out,),
    timing=True,
)
def check_a_burst_does_not_slip_through(api: Api, provider: Provider) -> None:
    """Of many requests at the same instant as many pass as of requests one after another."""
    caller, tag, limit = api.new_caller(), nonce(), api.settings.limit
    clear_of_boundary(api.settings.window)
    requests = [caller.prepare_chat(f"{tag} {new_message()}") for _ in range(3 * limit)]
    tally = Tally.of_burst(requests)
    tally.verify(limit, rate(api), "at the same instant", window=api.settings.window)
    verify_refusals(api, tally.refused)
    calls = len(provider.calls(tag))
    passed = len(tally.passed)
    demand(calls == passed, f"{passed} requests passed, and {calls} reached the provider.", tally.refused[:1])


@check(
    points=3,
    hints=[
        "A count in a variable of the process is one count per process.",
        "Keep the count where all replicas see it: in Redis, under a key made of the caller.",
    ],
    needs=(check_the_allowance_runs_out,),
    ahead=(pair,),
    timing=True,
)
def check_replicas_share_the_allowance(services: Bench) -> None:
    """Over two replicas a caller has one allowance, alternating between them and with all requests at once."""
    surely(lambda: _share_the_allowance(*services.shared(pair)), Surplus)


def _share_the_allowance(api: Api, other: Api) -> None:
    limit = api.settings.limit
    clear_of_boundary(api.settings.window, 4.0)
    for how in ("alternating between two replicas", "at the same instant over two replicas"):
        caller = api.new_caller()
        both = (caller, caller.at(other.address))
        requests = [both[n % 2].prepare_chat() for n in range(4 * limit if "instant" in how else limit + 6)]
        at_once = "instant" in how
        tally = Tally.of_burst(requests) if at_once else Tally.of(one.begin().result() for one in requests)
        tally.verify(limit, rate(api), how, processes=2, window=api.settings.window)


@check(
    points=2,
    hints=[
        "It is the caller who is limited, not the route.",
        "One count for all provider routes; a batch is one request, however many items it has.",
    ],
    needs=(check_the_allowance_runs_out,),
)
def check_routes_share_the_allowance(api: Api) -> None:
    """All provider routes draw on one allowance, a batch counts once, and other routes are not limited."""
    surely(lambda: _routes_share(api), Surplus)


def _routes_share(api: Api) -> None:
    caller, limit = api.new_caller("admin"), api.settings.limit
    clear_of_boundary(api.settings.window)
    answers = []
    for number in range(limit + 8):
        route = PROVIDER_ROUTES[number % len(PROVIDER_ROUTES)]
        body = {"items": [new_message(), new_message()]} if route == "/batch-process" else valid_body(route)
        answers.append(caller.post(route, json=body))
    Tally.of(answers).verify(limit, rate(api), "over all provider routes", window=api.settings.window)
    for path in ("/", "/health"):
        expect(caller.get(path)).status(200, because="only provider routes are limited")
    gone = caller.delete(f"/admin/users/{nonce()}")
    expect(gone).status(404, because="only provider routes are limited, and there is no such user")


@check(
    points=3,
    hints=[
        "Whose allowance is it? Not the key's, not the address's, not the name's.",
        "A caller is the client of an API key, or a user by token: f'client:{client}' and f'user:{username}'.",
    ],
    needs=(check_the_allowance_runs_out,),
)
def check_callers_have_their_own(services: Bench) -> None:
    """Two keys of one client are one caller; another client, and a user of the same name, are others."""
    name, keys = nonce(8), [nonce(32) for _ in range(3)]
    clients = (name, name, nonce(8))
    table = {
        hashlib.sha256(key.encode()).hexdigest(): {"client": client, "role": "user"}
        for key, client in zip(keys, clients, strict=True)
    }
    api = services.start(
        API_KEYS=json.dumps(table),
        SEED_USERS=json.dumps([{"username": name, "password": nonce(), "role": "user"}]),
        RATE_LIMIT_REQUESTS=str(services.rng.randint(4, 7)),
    )
    first, second, stranger = (api.with_headers({"X-API-Key": key}) for key in keys)
    tally = exhaust(api, first)
    refused = second.chat()
    both = Tally((*tally.exchanges, refused))
    if both.elapsed < 1 / rate(api) and not both.straddles(api.settings.window):
        expect(refused).status(429, because="it is another key of the client that has used up its allowance")
    namesake = api.bearer(api.mint(name))
    for caller, who in ((stranger, "another client"), (namesake, "a user with the client's name")):
        expect(caller.chat()).status(200, because=f"it is {who}")
    by_token = Tally.of([namesake.chat() for _ in range(api.settings.limit)])
    by_token.verify(api.settings.limit - 1, rate(api), "by token", window=api.settings.window)


@check(
    points=2,
    hints=[
        "Anybody can write X-Forwarded-For, and anybody can get a second token.",
        "Count by who the caller is, after authentication; never by a header as it came.",
    ],
    needs=(check_the_allowance_runs_out,),
)
def check_disguises_do_not_help(api: Api) -> None:
    """X-Forwarded-For, another spelling of the scheme or another token bring nobody a new allowance."""
    surely(lambda: _many_addresses(api), Surplus)
    user, limit = api.new_user("admin"), api.settings.limit
    clear_of_boundary(api.settings.window, 4.0)
    by_token = []
    for number in range(limit + 6):
        token = api.mint(user.username, exp=int(time.time()) + 300 + number)
        by_token.append(api.bearer(token, ("Bearer", "bearer", "BEARER")[number % 3]).chat())
    Tally.of(by_token).verify(limit, rate(api), "with another token each", window=api.settings.window)


def _many_addresses(api: Api) -> None:
    caller, limit = api.new_caller(), api.settings.limit
    clear_of_boundary(api.settings.window, 4.0)
    headers = [dict.fromkeys(PROXY_HEADERS, f"203.0.113.{number}") for number in range(limit + 6)]
    answers = [caller.post("/chat", json=valid_body("/chat"), headers=proxied) for proxied in headers]
    Tally.of(answers).verify(limit, rate(api), "with another X-Forwarded-For each", window=api.settings.window)


@check(
    points=2,
    hints=[
        "Does somebody else's nonsense cost me anything?",
        "First find out who calls, then count; what is refused with 401, 403 or 413 is not counted.",
        "A body can turn out too long while it is read: count after that.",
    ],
    needs=(check_the_allowance_runs_out,),
)
def check_refused_strangers_spend_nothing(api: Api) -> None:
    """Requests refused with 401, 403 or 413 spend nobody's allowance."""
    user, client, guest = api.new_user(), api.new_caller(), api.new_caller("guest")
    limit, key = api.settings.limit, client.headers["X-API-Key"]
    forged = api.bearer(api.mint(user.username, secret=nonce(40)))
    almost = api.with_headers({"X-API-Key": key[:-1]})
    for _ in range(limit + 1):
        challenged(forged.chat())
        challenged(almost.chat())
        expect(guest.chat()).status(403, because="a guest may not, however often one asks")
    too_long = b'{"message": "%b"}' % (b"x" * api.settings.integer("MAX_BODY_BYTES"))
    for chunked in (False, True, False, True):
        expect(client.post("/chat", content=too_long, chunked=chunked)).status(413)
    for caller, what in ((api.bearer(api.mint(user.username)), "401"), (client, "413")):
        exhaust(api, caller, f"after some that were refused with {what}")


@check(
    points=3,
    hints=[
        "Retry-After is a promise: who waits that long is let in.",
        "Tell when the next request would pass, rounded up: PTTL of a window, or what a bucket still lacks.",
        "Refused requests must leave no trace: look first, and count only what passes.",
    ],
    needs=(check_the_allowance_runs_out,),
    ahead=(brisk,),
    waits=2,
)
def check_retry_after_is_a_promise(services: Bench) -> None:
    """Who waits for Retry-After seconds is let in, however often somebody knocked in between."""
    api = services.shared(brisk).api
    patient, knocking = api.new_caller(), api.new_caller()
    refusals = [knock(api, caller) for caller in (patient, knocking)]
    polite, first = (one.finished + retry_after(one) for one in refusals)
    let_in = False
    while not let_in and time.monotonic() < first:
        let_in = knocking.chat().status == 200
        time.sleep(0.1)
    waited = "after Retry-After seconds the next request passes"
    sleep_until(polite)
    expect(patient.chat()).status(200, because=waited)
    if not let_in:
        expect(knocking.chat()).status(200, because=f"{waited}, and refused requests do not extend it")


@check(
    points=2,
    hints=[
        "What does a caller who was idle for an hour have? No more than one who was idle for a minute.",
        "Windows that begin at full minutes let twice the limit through around each full minute.",
        "Begin a caller's window with the first request in it, or refill continuously up to the limit.",
    ],
    needs=(check_a_burst_does_not_slip_through,),
    ahead=(brisk,),
    waits=5,
)
def check_no_moment_gives_more(services: Bench) -> None:
    """Neither after a pause nor around a full minute of the clock does a caller get more than is due."""
    found = services.shared(brisk)
    api, fresh, limit, window = found.api, found.api.new_caller(), found.api.settings.limit, found.api.settings.window
    sleep_into_boundary(window, 0.5)
    before = burst([fresh.prepare_chat() for _ in range(limit)])
    sleep_until(before[0].started + 0.55)
    after = burst([fresh.prepare_chat() for _ in range(limit + 2)])
    how = "around the time at which the clock's seconds are a multiple of RATE_LIMIT_WINDOW_S"
    # One is forgiven here: a count weighted over two windows may be off by a part of a request.
    Tally.of([*before, *after]).verify(limit, rate(api), how, slack=1)
    sleep_until(found.since + 2.1 * window)
    tally = Tally.of_burst([found.idle.prepare_chat() for _ in range(4 * limit)])
    if tally.elapsed > window:
        raise Inconclusive("The machine is too busy to send a burst within two seconds.")
    count = len(tally.passed)
    said = f"After a pause {count} requests passed within {tally.elapsed:.1f} s; a window may let {2 * limit} pass."
    demand(count <= 2 * limit, said, tally.passed[-1:])


@check(
    points=1,
    hints=[
        "Clients that know what is left need not run into the wall.",
        "On each 200: X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset.",
        "What remains is known where the count is kept; let the same script return it.",
    ],
    needs=(check_the_allowance_runs_out,),
)
def check_rate_headers_are_true(api: Api, note: Callable[[str], None]) -> None:
    """Where answers tell the limit and what remains of it, both are true."""
    surely(lambda: _headers_are_true(api, note), Surplus)


def _headers_are_true(api: Api, note: Callable[[str], None]) -> None:
    caller, limit = api.new_caller(), api.settings.limit
    clear_of_boundary(api.settings.window)
    tally = Tally.of([caller.chat() for _ in range(limit + 2)])
    tally.verify(limit, rate(api), "one after another", window=api.settings.window)
    told = [announced(exchange, limit) for exchange in tally.passed]
    untrue = []
    for number, (exchange, (said, remaining)) in enumerate(zip(tally.passed, told, strict=True), 1):
        demand(said in {None, limit}, f"{exchange} and tells a limit of {said}; it is {limit}.", [exchange])
        left, gained = limit - number, (exchange.finished - tally.passed[0].started) * rate(api)
        if remaining is not None and not left - 1 <= remaining <= left + 1 + gained:
            untrue.append((exchange, remaining, left))
    if untrue:
        exchange, remaining, left = untrue[0]
        # Whoever counts without Redis for a moment tells too much now and then, and not mostly.
        broken = Surplus if remaining > left and len(untrue) <= limit // 4 else Broken
        raise broken(f"{exchange}, says that {remaining} requests remain; {left} do.", [exchange])
    if told[0] == (None, None):
        note("advice: tell callers what remains, with X-RateLimit-Limit, -Remaining and -Reset on every 200")


@check(
    points=3,
    hints=[
        "Some operations cost more than others: a bucket of tokens, refilled over time.",
        "tokens_needed: Annotated[int, Query(ge=1)], and never more than BUCKET_CAPACITY: 422.",
        "The module's bucket takes a negative number for a gift.",
    ],
)
def check_expensive_operation_takes_tokens(api: Api) -> None:
    """POST /expensive-operation takes the tokens it needs and tells what remains; odd numbers are 422 and take none."""
    caller, capacity = api.new_caller(), api.settings.capacity
    odd = (0, -1, -1000, capacity + 1, 10**24, "1.5", "many")
    for tokens in odd:
        challenged(spend(api.anonymous, tokens), "there is no caller")
        expect(spend(api.new_caller("guest"), tokens)).status(403, because="the caller is a guest")
        expect(spend(caller, tokens)).status(422, because=f"tokens_needed is {tokens}, of a capacity of {capacity}")
    spent, started = 0, time.monotonic()
    for tokens in (1, capacity // 3, capacity // 3):
        exchange = spend(caller, tokens)
        spent += tokens
        expect(exchange).status(200, because=f"{spent} of {capacity} tokens are spent")
        most = min(capacity, capacity - spent + (exchange.finished - started) * api.settings.refill) + 1
        told = expect(exchange).find("remaining")
        number = isinstance(told, int | float) and not isinstance(told, bool)
        demand(number, f"{exchange} with remaining {told!r}, expected a number.", [exchange])
        true = capacity - spent - 1 <= told <= most
        demand(true, f"{exchange}, remaining is {told}; of {capacity} tokens {spent} were spent.", [exchange])
        expect(spend(caller, -spent)).status(422)


@check(
    points=3,
    hints=[
        "A bucket fills with time, by the clock of whoever keeps it, and never beyond its capacity.",
        "Keep tokens and the time of the last look; at each look add seconds · refill, cut at the capacity.",
        "Retry-After: what is lacking divided by the refill, rounded up.",
    ],
    needs=(check_expensive_operation_takes_tokens,),
    waits=2,
)
def check_the_bucket_refills(api: Api) -> None:
    """An empty bucket refuses with a Retry-After that suffices; BUCKET_REFILL_PER_S fills it up to its capacity."""
    caller, idle, capacity, refill = api.new_caller(), api.new_caller(), api.settings.capacity, api.settings.refill
    expect(spend(idle, 1)).status(200)
    emptied = spend(caller, capacity)
    expect(emptied).status(200, because="the bucket is full at first")
    wanted = math.ceil(2 * refill)
    refused = granted = spend(caller, wanted)
    if refused.status == 429 or refused.finished - emptied.started < wanted / refill:
        sleep_until(refused.finished + min(retry_after(refused), capacity / refill))
        granted = spend(caller, wanted)
    expect(granted).status(200, because="after Retry-After seconds the tokens are there")
    grown = (granted.finished - emptied.started) * refill
    demand(grown > wanted - 1, f"{granted}, but at {refill:g} a second only {grown:.0f} tokens have come.", [granted])
    half = spend(caller, capacity // 2)
    grown = (half.finished - emptied.started) * refill
    if grown < capacity // 2:
        expect(half).status(429, because=f"at {refill:g} a second {grown:.0f} tokens have come")
    started = time.monotonic()
    expect(spend(idle, capacity)).status(200, because="another caller's bucket is full")
    exchange = spend(idle, 4)
    if (exchange.finished - started) * refill < 3:
        expect(exchange).status(429, because="a bucket holds its capacity and not more, however long the pause was")


@check(
    points=3,
    hints=[
        "Take from the bucket in one step, where all replicas see it.",
        "A Lua script: read, refill, compare, take, write; redis.call('TIME') is the one clock of all.",
    ],
    needs=(check_expensive_operation_takes_tokens,),
    ahead=(pair,),
)
def check_the_bucket_is_shared(services: Bench) -> None:
    """Simultaneous requests, over two replicas too, never take more tokens than the bucket has."""
    api, other = services.shared(pair)
    capacity, refill = api.settings.capacity, api.settings.refill
    price = capacity // 5 + 1
    for how, address in (("at the same instant", api.address), ("at once over two replicas", other.address)):
        caller = api.new_caller()
        both = (caller, caller.at(address))
        requests = [both[n % 2].prepare("POST", EXPENSIVE, params={"tokens_needed": price}) for n in range(14)]
        Tally.of_burst(requests).verify(
            capacity, refill, f"for {price} of {capacity} tokens {how}", price=price, processes=2
        )


@check(
    points=2,
    hints=[
        "Twenty items are twenty calls: a batch takes one token for each.",
        "A batch with more items than the bucket can ever hold will never pass: refuse it.",
    ],
    needs=(check_expensive_operation_takes_tokens,),
)
def check_batches_take_tokens(services: Bench, provider: Provider) -> None:
    """/batch-process takes one token per item from the same bucket, and waits for nothing it cannot get."""
    capacity, tag = services.rng.randint(6, 9), nonce()
    api = services.start(BUCKET_CAPACITY=str(capacity), BUCKET_REFILL_PER_S="0.05", RATE_LIMIT_REQUESTS="50")
    caller = api.new_caller()
    started = time.monotonic()
    expect(caller.batch([f"{tag} {n}" for n in range(capacity + 1)])).status(
        422, 429, because="it holds too many items"
    )
    expect(caller.batch([new_message() for _ in range(capacity - 3)])).status(200, because="the bucket is full")
    refused = caller.batch([f"{tag} {n}" for n in range(5)])
    paid = spend(caller, 3)
    empty = spend(caller, 1)
    if time.monotonic() - started > 15:
        raise Inconclusive("The machine is so busy that the bucket has refilled.")
    expect(refused).status(429, because="3 tokens are left for 5 items")
    demand(not provider.calls(tag), "Items of a refused batch reached the provider.", [refused])
    expect(paid).status(200, because="3 tokens are left, and a refused batch takes none")
    expect(empty).status(429, because="all tokens are spent")


@check(
    points=2,
    hints=[
        "What is left in Redis of a caller who never comes back?",
        "Every key gets its time to live in the same step that makes it: SET … PX, or EXPIRE in the same script.",
        "A window's key lives as long as the window, a bucket's until it is full.",
    ],
    needs=(check_the_allowance_runs_out, check_expensive_operation_takes_tokens),
    ahead=(brisk,),
)
def check_counts_expire(services: Bench) -> None:
    """Whatever is kept for callers and logins expires soon after it has lost its meaning."""
    api = services.shared(brisk).api
    visit(api)
    kept = lasting(api.redis)
    for _ in range(4):
        visit(api)
    most = max(2 * api.settings.window, api.settings.capacity / api.settings.refill, 20.0) + 120
    for key, lifetime in lifetimes(api.redis).items():
        demand(lifetime <= most, f"The Redis key {key} lives for {lifetime:.0f} s more; {most:.0f} s are the most.")
    for key, size in lasting(api.redis).items():
        grown = size - kept.get(key, 0)
        few = grown <= 2 and key in kept
        demand(few, f"The Redis key {key} never expires, and more is kept with every caller or login.")


@check(
    points=1,
    hints=[
        "Limits are settings with a range: at least 1, and a refill above 0.",
        "Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0)], and a validator for the URL of Redis.",
    ],
    ahead=(misconfigured,),
)
def check_limit_settings_fail_fast(services: Bench) -> None:
    """Limits that are out of range, no numbers, or no address of a Redis end the process and are named."""
    services.shared(misconfigured)


@check(guard=True, hints=["Connect to Redis when it is needed, not at import and not in the lifespan."])
def check_starts_without_redis(services: Bench) -> None:
    """The service starts while Redis is away."""
    nowhere = services.start(REDIS_URL="redis://127.0.0.1:9/0")
    expect(nowhere.anonymous.get("/")).status(200)
