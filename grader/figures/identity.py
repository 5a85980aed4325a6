"""Section 3: a JSON Web Token taken apart and tampered with, and the order of roles.

Tokens are made and verified with PyJWT, as the service does it; the clock is the real one.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import jwt

from grader.figures.controls import Choice, Slider, Switch, Text
from grader.figures.theme import Figure, Params, Table, View

SECRET = "the-secret-that-only-the-service-knows-and-that-is-long-enough-for-SHA-512"  # noqa: S105 - a picture's secret, guards nothing
GUESS = "a-secret-that-somebody-else-made-up-and-that-is-just-as-long-as-the-true-one"
ISSUER, AUDIENCE = "course", "assistant"
CLAIMS = '{"sub": "ada", "role": "user", "iss": "course", "aud": "assistant"}'
SENDERS = {
    "honest": "signs with the secret",
    "keep": "edits the payload, keeps the old signature",
    "guess": "signs with a made-up secret",
    "none": "says alg none, signs nothing",
    "HS512": "says alg HS512",
}
CHECKERS = {
    "reads": "reads the payload, checks nothing",
    "signature": "checks the signature only",
    "full": "checks signature, alg, iss, aud, exp",
}


def encoded(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(payload: bytes, secret: str, algorithm: str = "HS256") -> str:
    """Return the compact form `header.payload.signature` (RFC 7515, section 3.1)."""
    if algorithm == "none":
        return f"{encoded(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{encoded(payload)}."
    return jwt.PyJWS().encode(payload, secret, algorithm=algorithm)


def with_times(claims: str, now: int, expires: int, *, endless: bool) -> bytes:
    """Add `iat` and `exp` to claims that are a JSON object; anything else goes into the token as it is."""
    try:
        data = json.loads(claims)
    except ValueError:
        return claims.encode()
    if not isinstance(data, dict):
        return claims.encode()
    times = {"iat": now - max(0, -expires) - 60} | ({} if endless else {"exp": now + expires})
    return json.dumps(data | times).encode()


def forged(sender: str, claims: str, now: int, expires: int, *, endless: bool) -> str:
    """Return the token that this sender sends."""
    payload = with_times(claims, now, expires, endless=endless)
    if sender == "keep":
        old = signed(with_times(CLAIMS, now, expires, endless=endless), SECRET).rpartition(".")[2]
        return f"{signed(payload, GUESS).rpartition('.')[0]}.{old}"
    return signed(payload, GUESS if sender == "guess" else SECRET, sender if sender in {"none", "HS512"} else "HS256")


def verify(checker: str, token: str) -> str:
    """Return why a checker refuses the token, or an empty string when it lets it in."""
    careless: Any = {"verify_signature": False}
    lenient: Any = {
        "verify_aud": False,
        "verify_iss": False,
        "verify_exp": False,
        "verify_iat": False,
        "verify_sub": False,
    }
    careful: Any = {"require": ["sub", "iss", "aud", "iat", "exp"]}
    try:
        if checker == "reads":
            jwt.decode(token, options=careless)
        elif checker == "signature":
            jwt.decode(token, SECRET, algorithms=["HS256", "HS512"], options=lenient)
        else:
            jwt.decode(token, SECRET, algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE, options=careful)
    except jwt.PyJWTError as problem:
        return reason(problem)
    return ""


def reason(problem: jwt.PyJWTError) -> str:
    """Say in words why PyJWT refused a token."""
    words: dict[type[jwt.PyJWTError], str] = {
        jwt.ExpiredSignatureError: "exp is in the past",
        jwt.InvalidAlgorithmError: "the header names an algorithm that is not on the list",
        jwt.InvalidAudienceError: "aud names another service",
        jwt.InvalidIssuerError: "iss names another issuer",
        jwt.InvalidSignatureError: "the signature does not fit header and payload",
        jwt.ImmatureSignatureError: "iat is in the future",
    }
    if isinstance(problem, jwt.MissingRequiredClaimError):
        return f"the claim {problem.claim} is missing"
    return words.get(type(problem), "the payload is no set of claims")


def _jwt(p: Params) -> View:
    expires = p["expires"]
    token = forged(p["sender"], p["claims"], int(time.time()), expires, endless=p["endless"])
    header, payload, _ = (part + "=" * (-len(part) % 4) for part in token.split("."))
    verdicts = {checker: verify(checker, token) for checker in CHECKERS}
    clear = jwt.utils.base64url_decode(payload).decode()
    say = f"The sender {SENDERS[p['sender']]}. "
    say += (
        f"The careful service answers **401**: {verdicts['full']}."
        if verdicts["full"]
        else "The careful service answers **200**: signature, algorithm, issuer, audience and expiry all hold."
    )
    fooled = [CHECKERS[c] for c in ("reads", "signature") if verdicts["full"] and not verdicts[c]]
    if fooled:
        say += f" Let in by the one that {' and by the one that '.join(fooled)}."
    scene = {
        "token": token.split("."),
        "header": jwt.utils.base64url_decode(header).decode(),
        "payload": clear,
        "verdicts": [{"name": name, "why": verdicts[checker]} for checker, name in CHECKERS.items()],
    }
    rows = [
        (name, "401" if verdicts[checker] else "200", verdicts[checker] or "lets it in")
        for checker, name in CHECKERS.items()
    ]
    return View(scene, say, Table("What three services answer", ["a service that", "status", "reason"], rows))


def jwt_parts(**start: object) -> Figure:
    """Take a token apart, tamper with it, and see which checks notice."""
    controls = (
        Text("claims", "Payload (edit it: another role, another aud, no sub …)", CLAIMS, rows=2, limit=400),
        Choice("sender", "The sender", tuple(SENDERS.items()), "honest"),
        Slider("expires", "Expires in", -3600, 3600, 1800, 300, "seconds"),
        Switch("endless", "Leave exp out", start=False),
    )
    title, question = "A token taken apart", "Anybody can read and rewrite a token. What exactly stops a forged one?"
    return Figure("jwt", title, question, controls, _jwt, start)


ROLES = ("guest", "user", "admin")
CALLERS = ("nobody", "bad token", *ROLES)
ROUTES = {
    "GET /protected": "guest",
    "POST /chat": "user",
    "POST /expensive-operation": "user",
    "DELETE /admin/users/x": "admin",
}


def allowed(role: str, needs: str, rule: str) -> bool:
    """Decide by order (`guest < user < admin`) or by equality of names."""
    return role == needs if rule == "equal" else ROLES.index(role) >= ROLES.index(needs)


def answer(caller: str, needs: str, rule: str) -> tuple[int, str]:
    """Return the status for a caller on a route and what decided: who are you (401) before may you (403)."""
    if caller not in ROLES:
        return 401, "no credentials: who are you?" if caller == "nobody" else "the token does not hold: who are you?"
    if not allowed(caller, needs, rule):
        return 403, f"known as {caller}, needs {needs}: you may not"
    return 200, f"known as {caller}, needs {needs}"


def _roles(p: Params) -> View:
    grid = {caller: {route: answer(caller, needs, p["rule"]) for route, needs in ROUTES.items()} for caller in CALLERS}
    wrong = sum(grid[c][r] != answer(c, needs, "order") for c in CALLERS for r, needs in ROUTES.items())
    status, why = grid[p["caller"]][p["route"]]
    say = f"{p['caller'].capitalize()} on {p['route']}: **{status}**, {why}."
    if wrong:
        say += f" Comparing names for equality gives **{wrong} wrong answers**: an admin is refused what a user may do."
    scene: Mapping[str, Any] = {
        "callers": CALLERS,
        "routes": list(ROUTES),
        "needs": list(ROUTES.values()),
        "grid": grid,
        "ranks": ROLES,
        "right": {c: [answer(c, needs, "order")[0] for needs in ROUTES.values()] for c in CALLERS},
    }
    rows: list[list[str | float]] = [[caller, *(grid[caller][route][0] for route in ROUTES)] for caller in CALLERS]
    return View(scene, say, Table("Status for every caller and route", ["caller", *ROUTES], rows))


def roles(**start: object) -> Figure:
    """Show who gets 200, 401 and 403 on which route, with roles as an order or as equal names."""
    controls = (
        Choice("rule", "The check", (("order", "rank(role) ≥ rank(needed)"), ("equal", 'role == "needed"')), "order"),
        Choice("caller", "Caller", tuple((c, c) for c in CALLERS), "user"),
        Choice("route", "Route", tuple((r, r) for r in ROUTES), "POST /chat"),
    )
    title, question = (
        "Who are you, and may you?",
        "401 asks who you are, 403 says no to somebody it knows. Roles are a ladder, not labels.",
    )
    return Figure("roles", title, question, controls, _roles, start)
