from __future__ import annotations

import base64
import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from pwdlib import PasswordHash

from grader.passwords import weakness

PASSWORD = "kzptnh-4fQx_secret"
SALT = bytes(range(65, 81))


def kept(folder: Path, *values: object) -> Path:
    path = folder / "users.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        marks = ", ".join("?" for _ in values)
        connection.execute(f"CREATE TABLE users (name, {', '.join(f'c{n}' for n in range(len(values)))})")
        connection.execute(f"INSERT INTO users VALUES ('ada', {marks})", values)  # noqa: S608
    return path


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "values",
    [
        [PASSWORD],
        [PASSWORD.encode()],
        [b64(PASSWORD.encode())],
        [hashlib.md5(PASSWORD.encode()).hexdigest()],  # noqa: S324
        [hashlib.sha256(PASSWORD.encode()).hexdigest().upper()],
        [hashlib.sha512(PASSWORD.encode()).digest()],
        [b64(hashlib.sha1(PASSWORD.encode()).digest())],  # noqa: S324
        [f"{SALT.hex()}${hashlib.sha256(SALT + PASSWORD.encode()).hexdigest()}"],
        [SALT, hashlib.sha256(PASSWORD.encode() + SALT).digest()],
        [f"sha256${SALT.decode()}${hashlib.sha256((SALT.decode() + PASSWORD).encode()).hexdigest()}"],
        [f"pbkdf2:sha256:1000${SALT.decode()}$00"],
        [SALT, 1000, hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, 1000)],
        ["$argon2i$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA"],
        ["$6$saltsalt$hash"],
    ],
)
def test_weak_keeping_is_found(values: list[object], tmp_path: Path) -> None:
    assert weakness(kept(tmp_path, *values), "ada", PASSWORD)


def scrypt() -> list[object]:
    return [SALT, hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=2**12, r=8, p=1)]


def scrypt_text() -> list[object]:
    return [f"scrypt:4096:8:1${b64(SALT)}${hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=2**12, r=8, p=1).hex()}"]


def argon2id() -> list[object]:
    return [PasswordHash.recommended().hash(PASSWORD)]


def bcrypt() -> list[object]:
    return ["$2b$12$LJ3m4ys3Lk0TSwHvE7qyEOcD8Q1zC9r0Z9k9Yy8wQ2g6h7JkLmNoP"]


@pytest.mark.parametrize("values", [scrypt, scrypt_text, argon2id, bcrypt])
def test_good_keeping_passes(values: Callable[[], list[object]], tmp_path: Path) -> None:
    assert weakness(kept(tmp_path, *values(), "admin", 1), "ada", PASSWORD) is None


def test_users_must_be_in_the_database(tmp_path: Path) -> None:
    assert "no row" in str(weakness(kept(tmp_path, "x"), "bob", PASSWORD))
    assert "no database" in str(weakness(tmp_path / "none.db", "bob", PASSWORD))
