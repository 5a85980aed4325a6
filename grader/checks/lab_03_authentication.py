"""Authentication and authorization."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Any

from grader import Api, Bench, Inconclusive, Lab, Provider, burst, check, demand, expect, new_message, nonce
from grader.accounts import (
    another_address,
    delete,
    greeted,
    hasty,
    latecomer,
    misconfigured,
    pair,
    try_login,
)
from grader.allowance import sleep_until
from grader.client import User
from grader.passwords import weakness
from grader.patience import GRACE, eventually
from grader.refusals import PROVIDER_ROUTES, alike, challenged, valid_body
from grader.stack import SqliteDatabase
from grader.tokens import LEEWAY, claims_of, with_bad_claims, with_bad_signatures

# A place west of Greenwich: whoever takes local time for UTC issues tokens from the future.
lab = Lab(minutes=75, users=10, env={"TZ": "America/St_Johns"})


@check(
    points=3,
    hints=[
        "Who may spend your tokens? Ask for a key before anything else happens.",
        "A dependency on the router guards all its routes; one per route is forgotten on the next route.",
        'Without a key or a token: HTTPException(401, headers={"WWW-Authenticate": …}).',
    ],
)
def check_strangers_get_nothing(api: Api, provider: Provider) -> None:
    """Without a key or a token every provider route answers 401 with WWW-Authenticate and calls no provider."""
    for route in PROVIDER_ROUTES:
        opened = api.new_caller().post(route, json=valid_body(route))
        expect(opened).status(200, because="a valid key opens every provider route")
        text = new_message()
        exchange = challenged(api.anonymous.post(route, json=valid_body(route, text)))
        demand(not provider.calls(text), f"{exchange}, and yet the provider was called.", [exchange])


@check(
    points=3,
    hints=[
        "A key is right or wrong as a whole, letter for letter.",
        "API_KEYS holds sha256 digests: hash what came and look the digest up; then nothing secret is compared at all.",
        "One exception for all cases, so that the answer does not tell which case it was.",
    ],
    needs=(check_strangers_get_nothing,),
)
def check_wrong_keys_are_refused(api: Api, provider: Provider) -> None:
    """A wrong, shortened, lengthened or re-cased key is refused like no key at all: 401, with the same body."""
    caller, text = api.new_caller(), new_message()
    key = caller.headers["X-API-Key"]
    digest = hashlib.sha256(key.encode()).hexdigest()
    wrong = [nonce(32), key[:-1], key[:8], f"{key}x", f"x{key}", f"{key},{key}", key.swapcase(), digest, "", ",", "*"]
    headers = [{}, *({"X-API-Key": each} for each in wrong), {"Authorization": f"Bearer {nonce(30)}"}]
    refused = [challenged(api.with_headers(each).chat(text)) for each in headers]
    alike(refused, "No key, a wrong key and a wrong token")
    demand(not provider.calls(text), "A request with a wrong key reached the provider.", refused[-1:])
    expect(caller.chat(text)).status(200, because="this is the key itself")


@check(
    points=2,
    hints=[
        "Addresses end up in logs, histories and bookmarks; keys must not.",
        "Read the key from request.headers only: APIKeyHeader, not APIKeyQuery or APIKeyCookie.",
    ],
    needs=(check_strangers_get_nothing,),
)
def check_keys_come_in_the_header_only(api: Api) -> None:
    """A right key or token in the query string or in a cookie opens nothing."""
    caller, user = api.new_caller(), api.new_user()
    key, token = caller.headers["X-API-Key"], api.mint(user.username)
    expect(caller.chat()).status(200)
    expect(api.bearer(token).chat()).status(200)
    body = {"message": new_message()}
    for name in ("api_key", "apikey", "key", "X-API-Key", "x_api_key"):
        challenged(api.anonymous.post("/chat", json=body, params={name: key}), "the key stands in the query string")
    for name in ("token", "access_token", "authorization"):
        challenged(api.anonymous.post("/chat", json=body, params={name: token}), "the token stands in the query string")
    challenged(api.with_headers({"Cookie": f"X-API-Key={key}; api_key={key}; access_token={token}"}).chat())


@check(
    points=1,
    hints=[
        "Header bytes above 0x7F are unusual, and yours to survive.",
        "secrets.compare_digest(str, str) raises TypeError on them; compare bytes, or look a digest up.",
    ],
    needs=(check_strangers_get_nothing,),
)
def check_odd_bytes_are_refused(api: Api) -> None:
    """Bytes 0x80 to 0xFF in a key or a token are 401, never an error of the service."""
    caller = api.new_caller()
    key = caller.headers["X-API-Key"].encode()
    tries: list[dict[str, str | bytes]] = [
        {"X-API-Key": b"caf\xe9"},
        {"X-API-Key": bytes(range(0x80, 0x100))},
        {"X-API-Key": key + b"\xff"},
        {"X-API-Key": "schlüssel"},
        {"Authorization": b"Bearer \xff\xfe.\x80.\xe9"},
        {"Authorization": b"Be\xe4rer " + key},
    ]
    for headers in tries:
        challenged(api.anonymous.post("/chat", json={"message": new_message()}, headers=headers))
    expect(caller.chat()).status(200)


@check(
    points=2,
    hints=[
        "Who are you, may you, and only then: what do you want?",
        "FastAPI reads and parses a body before it runs dependencies: broken JSON is 422 before anybody is asked.",
        "Ask for the caller before the body is read: in an ASGI middleware, or in a route class around the handler.",
    ],
    needs=(check_strangers_get_nothing,),
)
def check_refusals_come_in_order(api: Api) -> None:
    """401 comes before 403, and 403 before 422; a body that is too long may be 413 at any point."""
    too_long = b'{"message": "%b"}' % (b"x" * api.settings.integer("MAX_BODY_BYTES"))
    for caller, wanted, late in (
        (api.anonymous, (401,), (401, 413)),
        (api.new_caller("guest"), (403,), (403, 413)),
        (api.new_caller(), (422, 400), (413,)),
    ):
        for route in PROVIDER_ROUTES:
            for body in (b"{}", b'{"message": '):
                expect(caller.post(route, content=body)).status(*wanted, because="the body is bad")
        expect(caller.post("/chat", content=too_long)).status(*late, because="the body is too long")


@check(
    points=3,
    hints=[
        "OAuth2's password form: fields username and password, and a token comes back.",
        "form: Annotated[OAuth2PasswordRequestForm, Depends()]; verify the hash in a thread, then jwt.encode.",
        "exp - iat is JWT_TTL_S, and so is expires_in; times are datetime.now(UTC), never utcnow().timestamp().",
        'Answer with Cache-Control: no-store, and {"access_token", "token_type": "bearer", "expires_in"}.',
    ],
)
def check_login_gives_a_token(api: Api) -> None:
    """POST /login exchanges username and password for a signed token with the contract's claims."""
    user, ttl = api.new_user(), api.settings.integer("JWT_TTL_S")
    exchange = api.login(user)
    expect(exchange).status(200).header("Cache-Control", lambda text: "no-store" in text.lower(), what="no-store")
    expect(exchange).field("token_type", lambda kind: str(kind).lower() == "bearer", what="bearer")
    expect(exchange).field("expires_in", ttl)
    claims = claims_of(api, exchange)
    demand(claims["sub"] == user.username, f"The token's sub is {claims['sub']!r}, expected the username.", [exchange])
    lasts, age = claims["exp"] - claims["iat"], time.time() - claims["iat"]
    demand(abs(lasts - ttl) <= 1, f"exp - iat is {lasts} s, expected JWT_TTL_S, which is {ttl}.", [exchange])
    demand(abs(age) < LEEWAY, f"The token's iat lies {age:.0f} s in the past, expected now.", [exchange])
    greeted(api, exchange.json["access_token"], user.username)
    expect(api.bearer(exchange.json["access_token"]).chat()).status(200)
    form = {"grant_type": "password", "username": user.username, "password": user.password}
    expect(api.anonymous.post("/login", data=form)).status(200, because="grant_type is allowed")


@check(
    points=2,
    hints=[
        "Whoever guesses names must not learn from your answer which ones exist.",
        "One 401 for both. To take the same time too, verify a dummy hash when the user is unknown.",
    ],
    needs=(check_login_gives_a_token,),
)
def check_failed_logins_look_alike(api: Api, note: Callable[[str], None]) -> None:
    """A wrong password and an unknown user are both 401, with the same body."""
    user = api.new_user()
    expect(api.login(user)).status(200)
    wrong, unknown = api.login(user, user.password.swapcase()), api.login(User(nonce(8), user.password, "user"))
    for exchange in (wrong, unknown):
        expect(exchange).status(401)
    alike([wrong, unknown], "A wrong password and an unknown user")
    slow, quick = wrong.seconds, unknown.seconds
    if quick < slow / 3:
        note(f"advice: unknown users take {quick:.3f} s, wrong passwords {slow:.3f} s; that tells them apart")


@check(
    points=2,
    hints=[
        "Two bare parameters of a path operation are query parameters: the password would stand in every log.",
        "Form fields only: Annotated[str, Form()], or OAuth2PasswordRequestForm.",
    ],
    needs=(check_login_gives_a_token,),
)
def check_login_takes_a_form_only(api: Api) -> None:
    """Credentials as JSON or in the query string, and missing fields, are 400, 401 or 422."""
    user = api.new_user("guest")
    expect(api.login(user)).status(200)
    right, post = {"username": user.username, "password": user.password}, api.anonymous.post
    tries = [post("/login", json=right), post("/login", params=right)]
    tries += [post("/login", data=data) for data in ({"username": nonce()}, {"password": user.password}, {"x": "y"})]
    for exchange in tries:
        expect(exchange).status(400, 401, 422)


@check(
    points=2,
    hints=[
        "The signature and the claims say all: no list of issued tokens, no further claim.",
        "The scheme's name is the same in any case (RFC 9110, section 11.1): scheme.lower() == 'bearer'.",
    ],
)
def check_a_signed_token_is_enough(api: Api) -> None:
    """A token with sub, iss, aud, iat and exp, signed with JWT_SECRET, opens the routes; "Bearer" in any case."""
    user = api.new_user()
    token = api.mint(user.username)
    greeted(api, token, user.username)
    for scheme in ("bearer", "BEARER", "bEaReR"):
        expect(api.bearer(token, scheme).chat()).status(200, because="the scheme may be written in any case")
    for value in (token, f"Basic {token}", f"Token {token}", "Bearer", "Bearer "):
        challenged(api.with_headers({"Authorization": value}).chat(), "this is no bearer token")
    keyed = api.new_caller().get("/protected")
    expect(keyed).status(401, 403, because="/protected wants a token, not a key")


@check(
    points=3,
    hints=[
        "A token is checked claim by claim: who issued it, for whom, until when, and about whom.",
        'jwt.decode(…, issuer=…, audience=…, options={"require": ["sub", "iss", "aud", "iat", "exp"]})',
        "Then look the user up: sub may name somebody who does not exist.",
    ],
    needs=(check_a_signed_token_is_enough,),
)
def check_claims_are_checked(api: Api, provider: Provider) -> None:
    """A token that lacks a claim, has expired, or names another issuer, audience or an unknown user is 401."""
    user, text = api.new_user("admin"), new_message()
    for what, token in with_bad_claims(api, user.username).items():
        expect(api.bearer(token).get("/protected")).status(401, because=f"it is a token {what}")
        challenged(api.bearer(token).chat(text), f"it is a token {what}")
    demand(not provider.calls(text), "A request with a bad token reached the provider.")
    greeted(api, api.mint(user.username), user.username)


@check(
    points=3,
    hints=[
        "Anybody can write a token; only you can sign one.",
        'Name the one algorithm: jwt.decode(token, secret, algorithms=["HS256"]); never trust the header\'s alg.',
    ],
    needs=(check_a_signed_token_is_enough,),
)
def check_signatures_are_checked(api: Api, provider: Provider) -> None:
    """A token that is unsigned, changed, or signed with another secret or algorithm is 401."""
    user, text = api.new_user(), new_message()
    for what, token in with_bad_signatures(api, user.username).items():
        expect(api.bearer(token).get("/protected")).status(401, because=f"it is a token {what}")
        challenged(api.bearer(token).chat(text), f"it is a token {what}")
    demand(not provider.calls(text), "A request with a forged token reached the provider.")
    greeted(api, api.mint(user.username), user.username)


@check(
    points=3,
    hints=[
        "Is every role named wherever it is allowed? Then the admin is forgotten somewhere.",
        "Roles are an order, guest < user < admin: compare ranks, not names.",
    ],
    needs=(check_strangers_get_nothing,),
)
def check_roles_are_an_order(api: Api, provider: Provider) -> None:
    """Guests get 403 on provider routes, users and admins may call them."""
    for route in PROVIDER_ROUTES:
        for role in ("user", "admin"):
            exchange = api.new_caller(role).post(route, json=valid_body(route))
            expect(exchange).status(200, because=f"the caller is {role}")
        text = new_message()
        exchange = api.new_caller("guest").post(route, json=valid_body(route, text))
        expect(exchange).status(403, because="the caller is a guest")
        demand(not provider.calls(text), f"{exchange}, and yet the provider was called.", [exchange])


@check(
    points=2,
    hints=[
        "A role in the token stays what it was until the token ends.",
        "Take the username from the token, and the role from the users table, at every request.",
    ],
    needs=(check_a_signed_token_is_enough, check_roles_are_an_order),
)
def check_the_role_comes_from_the_database(api: Api) -> None:
    """A token's user has the role that the database says, whatever the token claims."""
    guest, admin = api.new_user("guest"), api.new_user("admin")
    claims: dict[str, Any] = {"role": "admin", "roles": ["admin"], "scope": "admin user", "is_admin": True}
    boaster = api.bearer(api.mint(guest.username, **claims))
    expect(boaster.get("/protected")).status(200, because="guests may use it")
    expect(boaster.chat()).status(403, because="the database calls the user a guest")
    expect(boaster.delete(f"/admin/users/{admin.username}")).status(403, because="the database calls the user a guest")
    modest = api.bearer(api.mint(admin.username, role="guest", scope="guest"))
    expect(modest.chat()).status(200, because="the database calls the user an admin")
    expect(modest.delete(f"/admin/users/{nonce()}")).status(404, because="an admin deletes a user who does not exist")


@check(
    points=2,
    hints=[
        "First ask whether the caller may, then look whether there is anything to do, then do it.",
        "Depends(require(Role.admin)) on the route, so that the function never runs for others.",
    ],
    ahead=(pair,),
)
def check_only_admins_delete(services: Bench) -> None:
    """DELETE /admin/users/{username} by anybody else is 403 or 401, and the user is still there."""
    api, _ = services.shared(pair)
    victim = api.new_user("admin")
    token = api.mint(victim.username)
    greeted(api, token, victim.username)
    for username in (victim.username, nonce()):
        for role in ("user", "guest"):
            expect(delete(api, username, role)).status(403, because=f"the caller is {role}")
        expect(api.anonymous.delete(f"/admin/users/{username}")).status(401)
    greeted(api, token, victim.username)
    expect(api.login(victim)).status(200, because="only others tried to delete this user")


@check(
    points=3,
    hints=[
        "A token outlives its user, unless every request asks whether the user is still there.",
        "Do not cache users in the process: another replica may have deleted them.",
        "Seed only when the users table is created, not at every start.",
    ],
    needs=(check_login_gives_a_token,),
    ahead=(pair,),
)
def check_deleted_users_are_gone(services: Bench) -> None:
    """From the next request on a deleted user's tokens and logins are 401, on every replica, after a restart too."""
    one, two = services.shared(pair)
    by_key, by_token, admin = one.new_user(), one.new_user(), one.new_user("admin")
    tokens = {user: one.mint(user.username) for user in (by_key, by_token)}
    for user, token in tokens.items():
        greeted(two, token, user.username)
    expect(delete(one, by_key.username)).status(200)
    expect(one.bearer(one.mint(admin.username)).delete(f"/admin/users/{by_token.username}")).status(200)
    for user, token in tokens.items():
        for api in (one, two):
            expect(api.bearer(token).get("/protected")).status(401, because="the user has been deleted")
        challenged(two.bearer(token).chat(), "the user has been deleted")
        expect(delete(two, user.username)).status(404, because="the user has been deleted already")
    expect(two.login(by_key)).status(401, because="the user has been deleted")
    later = services.another(one)
    expect(later.login(by_token)).status(401, because="the user was deleted before this replica started")
    greeted(later, later.mint(admin.username), admin.username)


@check(
    points=3,
    hints=[
        "A password that may be tried for ever is found.",
        "Count failures per username and address; at LOGIN_MAX_FAILURES answer 429 before you look at the password.",
        "Redis: INCR and EXPIRE at the first failure, in one script. A success neither adds nor clears.",
    ],
    needs=(check_login_gives_a_token,),
)
def check_login_is_throttled(api: Api) -> None:
    """After LOGIN_MAX_FAILURES failures every further try for that username is 429, with the right password too."""
    user, allowed = api.new_user(), api.settings.integer("LOGIN_MAX_FAILURES")
    for _ in range(allowed - 1):
        expect(api.login(user, nonce())).status(401)
    expect(api.login(user)).status(200, because="there was one failure fewer than LOGIN_MAX_FAILURES")
    expect(api.login(user, nonce())).status(401, because="a success neither adds nor clears")
    for address in ("203.0.113.7", "198.51.100.2, 203.0.113.9"):
        forwarded = {"X-Forwarded-For": address, "X-Real-IP": address, "Forwarded": f"for={address.split(',')[0]}"}
        for password in (user.password, nonce()):
            exchange = api.login(user, password, caller=api.with_headers(forwarded))
            expect(exchange).status(429, because=f"there were {allowed} failures before").header("Retry-After")
    expect(try_login(api, nonce(8))).status(401, because="it is another username")


@check(
    points=3,
    hints=[
        "Between looking at the count and raising it, others look too.",
        "Count and compare in one step (INCR returns the new count): who finds it beyond the limit gets 429.",
        "Do the same for unknown usernames, else the throttle tells which ones exist.",
    ],
    needs=(check_login_is_throttled,),
)
def check_simultaneous_guesses_are_throttled(api: Api) -> None:
    """Of many wrong tries at once at most LOGIN_MAX_FAILURES are 401, for unknown users too; others are unharmed."""
    allowed, username = api.settings.integer("LOGIN_MAX_FAILURES"), nonce(8)
    form = [{"username": username, "password": nonce()} for _ in range(allowed + 4)]
    tries = burst([api.anonymous.prepare("POST", "/login", data=data) for data in form], timeout=30)
    for exchange in tries:
        expect(exchange).status(401, 429)
    guesses = [one for one in tries if one.status == 401]
    while len(guesses) < allowed and (last := try_login(api, username)).status == 401:
        guesses.append(last)
    demand(guesses, "All of several simultaneous tries were refused with 429.", tries[:1])
    said = f"{len(guesses)} wrong passwords for one username were tried; LOGIN_MAX_FAILURES is {allowed}."
    demand(len(guesses) <= allowed, said, guesses[-1:])
    expect(try_login(api, username)).status(429, because="the throttle is the same for unknown users")
    with contextlib.suppress(OSError), another_address() as source:
        expect(try_login(api, username, source=source)).status(401, because="it comes from another address")


@check(
    points=2,
    hints=[
        "Whoever reserves a place for every try must give it back after a success.",
        "Simplest: verify first, then count only failures; refuse when the count is already full.",
    ],
    needs=(check_login_is_throttled,),
    ahead=(hasty,),
)
def check_right_logins_are_never_throttled(services: Bench) -> None:
    """Right passwords alone are never 429, however many come at once."""
    api = services.shared(hasty)
    user = api.new_user()
    form = {"username": user.username, "password": user.password}
    for exchange in burst([api.anonymous.prepare("POST", "/login", data=form) for _ in range(4)], timeout=30):
        expect(exchange).status(200, because="only failures count")
    expect(try_login(api, user.username)).status(401, because="right logins have not been failures")


@check(
    points=2,
    hints=[
        "When does the window end: some time after the first failure, or after the last?",
        "EXPIRE when the count becomes 1 and never again; refused tries touch nothing.",
    ],
    needs=(check_login_is_throttled,),
    ahead=(hasty,),
    waits=5,
)
def check_the_throttle_ends(services: Bench) -> None:
    """The throttle ends LOGIN_WINDOW_S after the first failure, whatever was tried meanwhile."""
    api, username = services.shared(hasty), nonce(8)
    window = float(api.settings.env["LOGIN_WINDOW_S"])
    first = try_login(api, username)
    expect(first).status(401)
    sleep_until(first.started + 0.4 * window)
    second = try_login(api, username)
    expect(second).status(401)
    for share in (0.6, 0.75):
        sleep_until(first.started + share * window)
        refused = try_login(api, username)
        if refused.finished > first.started + 0.95 * window:
            raise Inconclusive("The machine is too busy to try a login twice within 2.5 s.")
        expect(refused).status(429, because="the window since the first failure is not over")
    sleep_until(first.finished + window + GRACE)
    expect(try_login(api, username)).status(401, because="the window since the first failure is over")


@check(
    points=3,
    hints=[
        "One day somebody reads your database. What do they learn?",
        "argon2id, scrypt or bcrypt: slow, salted, one way. pwdlib's PasswordHash.recommended() is argon2id.",
    ],
    needs=(check_login_gives_a_token,),
)
def check_passwords_are_hashed(api: Api) -> None:
    """The database holds neither a password nor a digest that could be guessed quickly."""
    if not isinstance(api.database, SqliteDatabase):
        raise TypeError("this check reads an SQLite file")
    for user in api.settings.users[:3]:
        found = weakness(api.database.path, user.username, user.password)
        demand(found is None, f"Look into the users table: {found}.")


@check(
    points=2,
    hints=[
        "Two replicas start at once, both find no table, both fill it. What then?",
        "A unique username, and INSERT … ON CONFLICT DO NOTHING in the transaction that creates the table.",
        "The database may be away: try again in the background, and answer meanwhile.",
    ],
    needs=(check_login_gives_a_token,),
    ahead=(pair, latecomer),
)
def check_users_are_seeded_once(services: Bench) -> None:
    """Users are seeded once though replicas start together, and also when the database answers later."""
    one, two = services.shared(pair)
    user = one.new_user("guest")
    for api in (one, two):
        expect(api.login(user)).status(200, because="replicas may start together")
    expect(delete(one, user.username)).status(200)
    expect(two.bearer(two.mint(user.username)).get("/protected")).status(401, because="the user has been deleted")
    late = services.shared(latecomer)
    newcomer = late.new_user()
    eventually(10, "The database is back", lambda: expect(late.login(newcomer)).status(200), every=0.4)


@check(
    points=2,
    hints=[
        "A service that starts with a guessable secret runs for years with it.",
        "SecretStr and a validator that measures bytes; API_KEYS as dict of a model with pattern ^[0-9a-f]{64}$.",
        "hide_input_in_errors=True keeps refused values out of the log.",
    ],
    ahead=(misconfigured,),
)
def check_security_settings_fail_fast(services: Bench) -> None:
    """Settings of this lab that are absent or wrong end the process with a line that names them, not their value."""
    services.shared(misconfigured)
