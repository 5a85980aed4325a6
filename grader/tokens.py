"""Tokens: what a service signs, and what an attacker would send instead (RFC 7519, RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt

from grader.expectation import Broken, expect
from grader.messages import nonce

if TYPE_CHECKING:
    from grader.api import Api
    from grader.exchange import Exchange

CLAIMS = ("sub", "iss", "aud", "iat", "exp")
"""The claims of the contract."""

LEEWAY = 60
"""Seconds that a token may be accepted beyond its end."""

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def claims_of(api: Api, exchange: Exchange) -> dict[str, Any]:
    """Return the claims of the token in a login's answer, which must be signed and addressed as the settings say."""
    token = expect(exchange).find("access_token")
    env = api.settings.env
    try:
        return jwt.decode(
            token,
            env["JWT_SECRET"],
            algorithms=["HS256"],
            issuer=env["JWT_ISSUER"],
            audience=env["JWT_AUDIENCE"],
            options={"require": list(CLAIMS), "verify_iat": False},
        )
    except (jwt.PyJWTError, TypeError) as error:
        raise Broken(f"{exchange} with a token that is not as the contract wants it: {error}.", [exchange]) from None


def payload(api: Api, username: str) -> dict[str, object]:
    """Return the claims of a good token."""
    now = int(time.time())
    env = api.settings.env
    return {"sub": username, "iss": env["JWT_ISSUER"], "aud": env["JWT_AUDIENCE"], "iat": now, "exp": now + 600}


def signed(header: dict[str, object], claims: dict[str, object], secret: str, algorithm: str = "HS256") -> str:
    """Sign by hand, as libraries refuse to make bad tokens (RFC 7515, section 5.1)."""
    content = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
    signature = hmac.new(secret.encode(), content.encode(), _HASHES[algorithm]).digest()
    return f"{content}.{_encode(signature)}"


def with_bad_claims(api: Api, username: str) -> dict[str, str]:
    """Return rightly signed tokens that must be refused for what they claim, by what is wrong."""
    now = int(time.time())
    tokens = {f"without {name}": api.mint(username, without=[name]) for name in CLAIMS}
    wrong: dict[str, dict[str, object]] = {
        "of another issuer": {"iss": f"https://{nonce(6)}.example"},
        "for another audience": {"aud": f"assistant-{nonce(6)}"},
        "that has expired": {"iat": now - 3600, "exp": now - LEEWAY - 5},
        "whose exp is no number": {"exp": "never"},
        "issued in the future": {"iat": now + 3600, "exp": now + 7200},
        "of an unknown user": {"sub": nonce()},
        "whose sub is no text": {"sub": 7},
    }
    good = payload(api, username)
    header: dict[str, object] = {"alg": "HS256", "typ": "JWT"}
    secret = api.settings.env["JWT_SECRET"]
    return tokens | {what: signed(header, good | claims, secret) for what, claims in wrong.items()}


def with_bad_signatures(api: Api, username: str) -> dict[str, str]:
    """Return tokens that must be refused for how they are signed, by what is wrong."""
    secret, claims = api.settings.env["JWT_SECRET"], payload(api, username)
    head, body, signature = api.mint(username).split(".")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    changed = f"{signature[:middle]}{other}{signature[middle + 1 :]}"
    later = _encode(json.dumps(claims | {"exp": int(time.time()) + 9000}).encode())
    found = {
        "signed with another secret": signed({"alg": "HS256", "typ": "JWT"}, claims, nonce(40)),
        "signed with an empty secret": signed({"alg": "HS256", "typ": "JWT"}, claims, ""),
        "with claims changed after signing": f"{head}.{later}.{signature}",
        "with one letter of its signature changed": f"{head}.{body}.{changed}",
        "with half its signature": f"{head}.{body}.{signature[:middle]}",
        "without a signature": f"{head}.{body}.",
        "of two parts": f"{head}.{body}",
        "that is no JWT": nonce(30),
    }
    for algorithm in ("HS384", "HS512"):
        found[f"signed with {algorithm}"] = signed({"alg": algorithm, "typ": "JWT"}, claims, secret, algorithm)
    for name in ("none", "None", "NONE"):
        unsigned = _encode(json.dumps({"alg": name, "typ": "JWT"}).encode())
        found[f"with the algorithm {name}"] = f"{unsigned}.{_encode(json.dumps(claims).encode())}."
    return found


def _encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
