"""Passwords at rest: what a thief finds who takes the database away."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import itertools
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b", "blake2s")
"""Hashes that are computed by the billion a second, and so protect no password."""

FORBIDDEN = {
    "pbkdf2": "PBKDF2",
    "$argon2i$": "argon2i, not argon2id",
    "$argon2d$": "argon2d, not argon2id",
    "$1$": "md5-crypt",
    "$apr1$": "md5-crypt",
    "$5$": "sha256-crypt",
    "$6$": "sha512-crypt",
}
"""Signs of formats that the contract does not allow."""

_MOST_ROUNDS = 2_000_000


def weakness(database: Path, username: str, password: str) -> str | None:
    """Say how a user's password can be read from, or guessed quickly with, an SQLite database (None: it cannot)."""
    if not database.exists():
        return "there is no database at DATABASE_URL"
    files = [file for file in (database, database.with_name(f"{database.name}-wal")) if file.exists()]
    content = b"".join(file.read_bytes() for file in files)
    for needle, what in _traces(password):
        if needle in content:
            return f"the database holds {what}"
    rows = [row for row in _rows(database) if username in row]
    if not rows:
        return "the database holds no row with the username, so the users are kept elsewhere"
    for row in rows:
        found = _weak_format(row) or _salted(row, password)
        if found:
            return f"the password is kept as {found}"
    return None


def _traces(password: str) -> Iterator[tuple[bytes, str]]:
    secret = password.encode()
    yield secret, "the password itself"
    for form in _forms(secret):
        yield form, "the password, only encoded"
    for name in DIGESTS:
        digest = hashlib.new(name, secret).digest()
        for form in (digest, *_forms(digest)):
            yield form, f"a plain {name} digest of the password"


def _forms(data: bytes) -> list[bytes]:
    """How bytes are commonly written."""
    lower = data.hex().encode()
    return [lower, lower.upper(), base64.b64encode(data).rstrip(b"="), base64.urlsafe_b64encode(data).rstrip(b"=")]


def _rows(database: Path) -> Iterator[tuple[object, ...]]:
    """Every row of every table."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5.0)) as connection:
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            quoted = str(name).replace('"', '""')
            yield from connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608  # a name from the schema itself


def _weak_format(row: tuple[object, ...]) -> str | None:
    texts = [value.lower() for value in row if isinstance(value, str)]
    return next((what for sign, what in FORBIDDEN.items() if any(sign in text for text in texts)), None)


def _salted(row: tuple[object, ...], password: str) -> str | None:
    """Try whether two parts of a row are a salt and a quick hash of salt and password."""
    parts = {part for value in row for part in _parts(value)}
    rounds = sorted({int(part) for part in parts if part.isdigit() and 1 < int(part) <= _MOST_ROUNDS})
    secret = password.encode()
    for salt in parts:
        for name in DIGESTS:
            joined = (salt + secret, secret + salt, secret + b":" + salt, salt + b":" + secret, salt + secret + salt)
            quick = [hashlib.new(name, each).digest() for each in joined]
            quick += [hmac.new(salt, secret, name).digest(), hmac.new(secret, salt, name).digest()]
            if any(digest in parts for digest in quick):
                return f"a salted {name} digest"
    for name, count in itertools.product(("sha1", "sha256", "sha512"), rounds[:2]):
        if any(hashlib.pbkdf2_hmac(name, secret, salt, count) in parts for salt in parts if len(salt) >= 8):
            return "PBKDF2"
    return None


def _parts(value: object) -> Iterator[bytes]:
    """The pieces of a stored value, as they are and as what they may encode."""
    if isinstance(value, bytes):
        yield value
        return
    text = str(value)
    for piece in {text, *re.split(r"[$:;,|.]", text)} - {""}:
        yield piece.encode()
        with contextlib.suppress(ValueError):
            yield bytes.fromhex(piece)
        with contextlib.suppress(ValueError, binascii.Error):
            yield base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_" if {"-", "_"} & set(piece) else None)
