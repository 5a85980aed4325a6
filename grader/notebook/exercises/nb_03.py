"""Exercises of notebook 03, authentication."""

from __future__ import annotations

import hashlib
import random
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jwt

from grader.notebook.judge import WrongError, demand, exercise_check

ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789"
ROLES = ("guest", "user", "admin")

Subject = Callable[[str, str, str, str], str | None]


def _word(draw: random.Random, length: int) -> str:
    return "".join(draw.choices(ALPHABET, k=length))


@exercise_check("03-keys")
def keys(client_of: Callable[[str, Mapping[str, str]], str | None], draw: random.Random) -> None:
    """`client_of(key, clients)`: the client whose digest the key has, else None; no text makes it fail."""
    for _ in range(10):
        owners = {_word(draw, 24): f"client-{number}" for number in range(4)}
        clients = {hashlib.sha256(key.encode()).hexdigest(): name for key, name in owners.items()}
        for key, name in owners.items():
            said = client_of(key, dict(clients))
            demand(said == name, f"the key of {name} gave {said!r}")
        key = draw.choice(list(owners))
        wrong = {
            "an empty key": "",
            "a shortened key": key[:-1],
            "a lengthened key": f"{key}x",
            "a key in other letters": key.swapcase(),
            "a key with an umlaut": "schlüssel",
            "a key with an emoji": "🔑",
            "the digest of a key, sent as the key": hashlib.sha256(key.encode()).hexdigest(),
            "the name of a client, sent as the key": owners[key],
        }
        for what, text in wrong.items():
            try:
                said = client_of(text, dict(clients))
            except (UnicodeError, TypeError, KeyError) as problem:
                raise WrongError(f"{what} made it raise {type(problem).__name__}: a stranger's 500") from None
            demand(said is None, f"{what} gave {said!r}; it has to be None")


class Hasher:
    """Stands for pwdlib's hasher, and counts."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def hash(self, password: str) -> str:
        """Return something that says which password it was made for, to those who know how to read it."""
        return f"$made-up${password[::-1]}"

    def verify(self, password: str, hash: str) -> bool:  # noqa: A002 - pwdlib's name
        """Tell whether the hash is the password's."""
        self.seen.append(hash)
        return hash == self.hash(password)


@exercise_check("03-verified")
def verified(verified_: Callable[[str, str | None, Any, str], bool], draw: random.Random) -> None:
    """`verified(password, stored, hasher, nobody)`: right, and the same work whether or not there is a user."""
    for _ in range(10):
        password, other, nobodys = (_word(draw, 10) for _ in range(3))
        cases = (
            ("the right password", password, password, True),
            ("a wrong password", other, password, False),
            ("no such user", password, None, False),
            ("no such user, and the very password that `nobody` was made of", nobodys, None, False),
        )
        for what, typed, owned, right in cases:
            hasher = Hasher()
            stored, nobody = hasher.hash(owned) if owned else None, hasher.hash(nobodys)
            said = verified_(typed, stored, hasher, nobody)
            demand(said is right, f"{what}: {said!r}, where {right} is right")
            demand(len(hasher.seen) == 1, f"{what}: hasher.verify was called {len(hasher.seen)} times instead of once")
            demand(hasher.seen == [stored or nobody], f"{what}: hasher.verify got {hasher.seen[0]!r}")


@exercise_check("03-token")
def token(subject: Subject, draw: random.Random) -> None:
    """`subject(token, secret, issuer, audience)`: the subject of a good token, None for every other."""
    for _ in range(3):
        secret, issuer, audience = _word(draw, 72), f"https://{_word(draw, 6)}.example", _word(draw, 8)
        known, name, now = (secret, issuer, audience), _word(draw, 6), int(time.time())
        claims = {"sub": name, "iss": issuer, "aud": audience, "iat": now, "exp": now + draw.randint(600, 3000)}
        for good in (claims, {**claims, "iat": now - 500, "exp": now + 90}, {**claims, "role": "admin"}):
            said = _asked(subject, jwt.encode(good, secret, algorithm="HS256"), known, "a good token")
            demand(said == name, f"a good token of {name} gave {said!r}")
        for what, bad in _forged(claims, secret, draw):
            said = _asked(subject, bad, known, what)
            demand(said is None, f"{what} gave {said!r}; it has to be None")


def _asked(subject: Subject, token: str, known: tuple[str, str, str], what: str) -> str | None:
    try:
        return subject(token, *known)
    except jwt.PyJWTError as problem:
        raise WrongError(f"{what} made it raise {type(problem).__name__}; it has to return None") from None


def _forged(claims: dict[str, Any], secret: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    def signed(changes: Mapping[str, Any], key: str = secret, algorithm: str = "HS256") -> str:
        return jwt.encode({**claims, **changes}, key, algorithm=algorithm)

    for missing in claims:
        rest = {name: value for name, value in claims.items() if name != missing}
        yield f"a token without {missing}", jwt.encode(rest, secret, algorithm="HS256")
    yield "an expired token", signed({"exp": claims["iat"] - 3600, "iat": claims["iat"] - 7200})
    yield "a token of another issuer", signed({"iss": f"https://{_word(draw, 6)}.example"})
    yield "a token for another audience", signed({"aud": _word(draw, 8)})
    yield "a token signed with another secret", signed({}, _word(draw, 72))
    yield "a token signed with HS512", signed({}, secret, "HS512")
    yield "an unsigned token (alg none)", jwt.encode(claims, "", algorithm="none")
    header, _, signature = signed({}).split(".")
    yield "a token whose payload was changed", f"{header}.{signed({'sub': 'admin'}).split('.')[1]}.{signature}"
    yield "a token without a signature", f"{header}.{signed({}).split('.')[1]}."
    yield "an empty token", ""
    yield "something that is no token", draw.choice(("abc", "a.b.c", "..", "Bearer"))
    yield "a token in three pieces of rubbish", ".".join([urlsafe_b64encode(draw.randbytes(9)).decode()] * 3)


@exercise_check("03-roles")
def roles(allows: Callable[[str, str], bool], draw: random.Random) -> None:
    """`allows(role, least)`: by order, and unknown roles may nothing."""
    pairs = [(role, least) for role in ROLES for least in ROLES]
    draw.shuffle(pairs)
    for role, least in pairs:
        said, right = allows(role, least), ROLES.index(role) >= ROLES.index(least)
        demand(said is right, f"allows({role!r}, {least!r}) returned {said!r} where {right} is right")
    for role, least in ((_word(draw, 5), "guest"), ("", "guest"), ("Admin", "user"), ("admin", _word(draw, 5))):
        said = allows(role, least)
        demand(said is False, f"allows({role!r}, {least!r}) returned {said!r}: a role that nobody knows may nothing")
