"""Faults of lab 3, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_03_authentication import (
    check_a_signed_token_is_enough,
    check_claims_are_checked,
    check_deleted_users_are_gone,
    check_failed_logins_look_alike,
    check_keys_come_in_the_header_only,
    check_login_gives_a_token,
    check_login_is_throttled,
    check_login_takes_a_form_only,
    check_odd_bytes_are_refused,
    check_only_admins_delete,
    check_passwords_are_hashed,
    check_refusals_come_in_order,
    check_right_logins_are_never_throttled,
    check_roles_are_an_order,
    check_security_settings_fail_fast,
    check_signatures_are_checked,
    check_simultaneous_guesses_are_throttled,
    check_strangers_get_nothing,
    check_the_role_comes_from_the_database,
    check_the_throttle_ends,
    check_users_are_seeded_once,
    check_wrong_keys_are_refused,
)
from tests.mutants import Mutant

AUTH = "app/auth.py"
PASSWORDS = "app/passwords.py"
SETTINGS = "app/settings.py"
STORE = "app/store.py"
THROTTLE = "app/throttle.py"

AUTHORIZE = "            request.state.caller = await authorized(request, Role.USER)\n"
REQUIRED = 'options={"require": ["sub", "iss", "aud", "iat", "exp"]},'
FAILED = "        refuse_if_shut(await throttle.fail(key))\n        raise unauthenticated()\n"
FIND_USER = (
    "    user = await user_named(subject(token.strip(), request.app.state.settings), request.app.state.store)\n"
    "    if user is None:\n        raise unauthenticated()\n"
)
HASHER = "HASHER = PasswordHash((Argon2Hasher(memory_cost=19_456, time_cost=2, parallelism=1),))\n"


def own_hasher(digest: str) -> str:
    """A hasher that keeps `salt$digest`; ``digest`` is an expression over salt and password."""
    return f'''import hashlib
import hmac
import secrets


class Hasher:
    """What a tutorial of twenty years ago recommends."""

    def hash(self, password: str, salt: str = "") -> str:
        salt = salt or secrets.token_hex(8)
        return f"{{salt}}${{{digest}}}"

    def verify(self, password: str, kept: str) -> bool:
        return hmac.compare_digest(self.hash(password, kept.partition("$")[0]), kept)


HASHER = Hasher()
'''


MUTANTS = [
    Mutant(
        "One provider route forgets to ask who calls",
        AUTH,
        AUTHORIZE,
        AUTHORIZE.replace("await", 'Caller("nobody", Role.USER) if request.url.path == "/summarize" else await'),
        {check_strangers_get_nothing},
    ),
    Mutant(
        "A 401 does not say how to authenticate",
        AUTH,
        'UNAUTHENTICATED = {"WWW-Authenticate": "Bearer"}',
        "UNAUTHENTICATED: dict[str, str] = {}",
        {check_strangers_get_nothing},
    ),
    Mutant(
        "Missing credentials are 403",
        AUTH,
        "HTTPException(401, ",
        "HTTPException(403, ",
        {check_strangers_get_nothing},
    ),
    Mutant(
        "The digest that is stored is taken for a key",
        AUTH,
        "settings.api_keys.get(digest)",
        "settings.api_keys.get(digest) or settings.api_keys.get(key)",
        {check_wrong_keys_are_refused},
    ),
    Mutant(
        "The first of several keys in the header counts",
        AUTH,
        "hashlib.sha256(key.encode(",
        'hashlib.sha256(key.partition(",")[0].encode(',
        {check_wrong_keys_are_refused},
    ),
    Mutant(
        "A wrong key is told apart from a missing one",
        AUTH,
        '        return Caller(f"client:{client.client}", client.role)\n    raise unauthenticated()',
        '        return Caller(f"client:{client.client}", client.role)\n'
        '    raise HTTPException(401, "There is no such key.", UNAUTHENTICATED)',
        {check_wrong_keys_are_refused},
    ),
    Mutant(
        "The key may stand in the query string",
        AUTH,
        'request.headers.get("x-api-key"):',
        'request.headers.get("x-api-key") or request.query_params.get("api_key"):',
        {check_keys_come_in_the_header_only},
    ),
    Mutant(
        "The token may stand in the query string",
        AUTH,
        'request.headers.get("authorization", "").partition',
        'request.headers.get("authorization", f"Bearer {request.query_params.get(\'token\')}").partition',
        {check_keys_come_in_the_header_only},
    ),
    Mutant(
        "The key may come in a cookie",
        AUTH,
        'request.headers.get("x-api-key"):',
        'request.headers.get("x-api-key") or request.cookies.get("api_key"):',
        {check_keys_come_in_the_header_only},
    ),
    Mutant(
        "A key with bytes beyond ASCII is an unexpected error",
        AUTH,
        'key.encode("latin-1", "replace")',
        'key.encode("ascii")',
        {check_odd_bytes_are_refused},
    ),
    Mutant(
        "The body is parsed before anybody is asked",
        AUTH,
        AUTHORIZE,
        '            if not (await request.body()).endswith(b"}"):\n'
        '                    raise HTTPException(422, "The body is no JSON object.")\n    ' + AUTHORIZE,
        {check_refusals_come_in_order},
    ),
    Mutant(
        "Local time is taken for UTC in tokens",
        AUTH,
        "    now = int(time.time())\n",
        "    from datetime import datetime\n\n    now = int(datetime.utcnow().timestamp())\n",
        {check_login_gives_a_token},
    ),
    Mutant(
        "JWT_TTL_S is read as minutes",
        AUTH,
        '"exp": now + int(settings.jwt_ttl_s),',
        '"exp": now + int(settings.jwt_ttl_s) * 60,',
        {check_login_gives_a_token},
    ),
    Mutant(
        "expires_in is always half an hour",
        AUTH,
        '"expires_in": int(settings.jwt_ttl_s)',
        '"expires_in": 1800',
        {check_login_gives_a_token},
    ),
    Mutant(
        "A token may be stored by caches on its way",
        AUTH,
        '    response.headers["Cache-Control"] = "no-store"\n',
        "",
        {check_login_gives_a_token},
    ),
    Mutant(
        "A failed login tells that the user does not exist",
        AUTH,
        FAILED,
        FAILED.replace("unauthenticated()", 'unauthenticated() if user else HTTPException(401, "No such user.")'),
        {check_failed_logins_look_alike},
    ),
    Mutant(
        "Login takes credentials from the query string too",
        AUTH,
        '@router.post("/login")\nasync def login(\n    form: Annotated[OAuth2PasswordRequestForm, Depends()],',
        """from fastapi import Form, Query


def credentials(
    username: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    asked_username: Annotated[str, Query(alias="username")] = "",
    asked_password: Annotated[str, Query(alias="password")] = "",
) -> OAuth2PasswordRequestForm:
    return OAuth2PasswordRequestForm(username=username or asked_username, password=password or asked_password)


@router.post("/login")
async def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends(credentials)],""",
        {check_login_takes_a_form_only},
    ),
    Mutant(
        "The scheme must be written Bearer",
        AUTH,
        'scheme.lower() != "bearer"',
        'scheme != "Bearer"',
        {check_a_signed_token_is_enough},
    ),
    Mutant(
        "Any scheme will do",
        AUTH,
        'scheme.lower() != "bearer"',
        "not token",
        {check_a_signed_token_is_enough},
    ),
    Mutant(
        "A token needs a claim that the contract does not name",
        AUTH,
        REQUIRED,
        REQUIRED.replace('"exp"]', '"exp", "jti"]'),
        {check_a_signed_token_is_enough},
    ),
    Mutant(
        "A token need not end",
        AUTH,
        REQUIRED,
        REQUIRED.replace(', "exp"]', "]"),
        {check_claims_are_checked},
    ),
    Mutant(
        "Tokens for other audiences are accepted",
        AUTH,
        REQUIRED,
        REQUIRED.replace("]}", '], "verify_aud": False}'),
        {check_claims_are_checked},
    ),
    Mutant(
        "Tokens of other issuers are accepted",
        AUTH,
        "            issuer=settings.jwt_issuer,\n",
        "",
        {check_claims_are_checked},
    ),
    Mutant(
        "Tokens live ten minutes longer than they say",
        AUTH,
        "leeway=CLOCKS_DIFFER_BY_S,",
        "leeway=600,",
        {check_claims_are_checked},
    ),
    Mutant(
        "Whoever a token names is taken for a user",
        AUTH,
        FIND_USER + '    return Caller(f"user:{user.username}", Role(user.role))',
        "    name = subject(token.strip(), request.app.state.settings)\n"
        "    user = await user_named(name, request.app.state.store)\n"
        '    return Caller(f"user:{name}", Role(user.role) if user else Role.USER)',
        {check_claims_are_checked, check_deleted_users_are_gone},
    ),
    Mutant(
        "Signatures are not verified",
        AUTH,
        REQUIRED,
        REQUIRED.replace("options={", 'options={"verify_signature": False, '),
        {check_signatures_are_checked},
    ),
    Mutant(
        "The token chooses the algorithm",
        AUTH,
        'algorithms=["HS256"],',
        'algorithms=[jwt.get_unverified_header(token)["alg"]],',
        {check_signatures_are_checked},
    ),
    Mutant(
        "Roles are compared for equality",
        "app/roles.py",
        "order.index(self) >= order.index(least)",
        "order.index(self) == order.index(least)",
        {check_roles_are_an_order},
    ),
    Mutant(
        "Guests may do what users may",
        "app/roles.py",
        "order.index(self) >= order.index(least)",
        "order.index(self) >= order.index(least) - 1",
        {check_roles_are_an_order},
    ),
    Mutant(
        "The role is taken from the token",
        AUTH,
        'return Caller(f"user:{user.username}", Role(user.role))',
        'claims = jwt.decode(token.strip(), options={"verify_signature": False})\n'
        '    return Caller(f"user:{user.username}", Role(claims.get("role", user.role)))',
        {check_the_role_comes_from_the_database},
    ),
    Mutant(
        "Users may delete users",
        AUTH,
        "    await authorized(request, Role.ADMIN)\n",
        "    await authorized(request, Role.USER)\n",
        {check_only_admins_delete},
    ),
    Mutant(
        "The user is deleted, then the caller is asked",
        AUTH,
        "    await authorized(request, Role.ADMIN)\n",
        "    await request.app.state.store.remove(username)\n    await authorized(request, Role.ADMIN)\n",
        {check_only_admins_delete},
    ),
    Mutant(
        "Each process remembers the users that it has seen",
        AUTH,
        "    return await store.find(username) if re.fullmatch(USERNAME, username) else None\n",
        '    known = vars(store).setdefault("known", {})\n'
        "    if username not in known:\n"
        "        known[username] = await store.find(username) if re.fullmatch(USERNAME, username) else None\n"
        "    return known[username]\n",
        {check_deleted_users_are_gone},
    ),
    Mutant(
        "Users are put in at every start",
        STORE,
        "            if fresh and rows:\n                await connection.execute(insert(User), rows)\n",
        "            again = [await row(seed) for seed in seeds]\n"
        "            if fresh or again:\n"
        '                await connection.execute(insert(User).prefix_with("OR IGNORE"), again)\n',
        {check_deleted_users_are_gone},
    ),
    Mutant(
        "Nobody counts failed logins",
        THROTTLE,
        "if failures >= tonumber(ARGV[1]) then",
        "if failures < 0 then",
        {check_login_is_throttled},
    ),
    Mutant(
        "The throttle allows one failure too many",
        THROTTLE,
        "if failures >= tonumber(ARGV[1]) then",
        "if failures > tonumber(ARGV[1]) then",
        {check_login_is_throttled},
    ),
    Mutant(
        "A right login clears the count",
        AUTH,
        "    refuse_if_shut(await throttle.wait(key))  # others may have failed while we were checking\n",
        '    await request.app.state.shared.redis.delete(f"login:{key}")\n',
        {check_login_is_throttled},
    ),
    Mutant(
        "The throttle believes X-Forwarded-For",
        AUTH,
        'request.client.host if request.client else "")',
        'request.headers.get("x-forwarded-for", ""))',
        {check_login_is_throttled},
    ),
    Mutant(
        "One user's failures throttle everybody behind the address",
        THROTTLE,
        'f"{address} {username}"',
        'f"{address}"',
        {check_login_is_throttled},
    ),
    Mutant(
        "A stranger's failures lock the user out from every address",
        THROTTLE,
        'f"{address} {username}"',
        'f"{username}"',
        {check_simultaneous_guesses_are_throttled},
    ),
    Mutant(
        "Simultaneous failures are counted, and not refused",
        THROTTLE,
        "        return await self._run(key, count=1)\n",
        "        await self._run(key, count=1)\n        return 0\n",
        {check_simultaneous_guesses_are_throttled},
    ),
    Mutant(
        "Failures of unknown users are not counted",
        AUTH,
        FAILED,
        FAILED.replace("refuse_if_shut", "if user:\n            refuse_if_shut", 1),
        {check_simultaneous_guesses_are_throttled},
    ),
    Mutant(
        "Right logins count like wrong ones",
        AUTH,
        "    refuse_if_shut(await throttle.wait(key))\n    user =",
        "    refuse_if_shut(await throttle.fail(key))\n    user =",
        {check_right_logins_are_never_throttled},
    ),
    Mutant(
        "Every failure begins the window anew",
        THROTTLE,
        "redis.call('INCR', KEYS[1]) == 1 then",
        "redis.call('INCR', KEYS[1]) then",
        {check_the_throttle_ends},
    ),
    Mutant(
        "Refused logins extend the throttle",
        THROTTLE,
        "then return redis.call('PTTL', KEYS[1]) end",
        "then redis.call('PEXPIRE', KEYS[1], ARGV[2]) return redis.call('PTTL', KEYS[1]) end",
        {check_the_throttle_ends},
    ),
    Mutant(
        "Passwords are kept as plain digests",
        PASSWORDS,
        HASHER,
        own_hasher("hashlib.sha256(password.encode()).hexdigest()"),
        {check_passwords_are_hashed},
    ),
    Mutant(
        "Passwords are kept as salted digests",
        PASSWORDS,
        HASHER,
        own_hasher("hashlib.sha512((salt + password).encode()).hexdigest()"),
        {check_passwords_are_hashed},
    ),
    Mutant(
        "Passwords are only encoded",
        PASSWORDS,
        HASHER,
        own_hasher("password.encode().hex()"),
        {check_passwords_are_hashed},
    ),
    Mutant(
        "A database that is away at the start is never filled",
        STORE,
        "            await asyncio.sleep(RETRY_AFTER_S if tried.is_set() else 0)\n",
        "            return None\n",
        {check_users_are_seeded_once},
    ),
    Mutant(
        "A secret of 16 bytes is long enough",
        SETTINGS,
        "get_secret_value().encode()) < 32:",
        "get_secret_value().encode()) < 16:",
        {check_security_settings_fail_fast},
    ),
    Mutant(
        "The secret has a default",
        SETTINGS,
        "    jwt_secret: SigningKey\n",
        '    jwt_secret: SigningKey = SecretStr("please-change-this-secret-before-you-deploy")\n',
        {check_security_settings_fail_fast},
    ),
    Mutant(
        "Digests in API_KEYS may be anything",
        SETTINGS,
        'pattern=r"^[0-9a-fA-F]{64}$"',
        'pattern=r"^.+$"',
        {check_security_settings_fail_fast},
    ),
    Mutant(
        "Refused settings are shown in the log",
        SETTINGS,
        "error.errors(include_input=False)})",
        "error.errors(include_input=False)} | {str(e.get('input')) for e in error.errors()})",
        {check_security_settings_fail_fast},
    ),
]
