"""Signing: reports of a class bear an Ed25519 signature, so that a changed one is known from a true one.

The key is made at its first use and stays with the instructor. Who has only the public half can verify, not sign.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from grader import workspace

ALGORITHM = "ed25519"


class KeyUnusableError(Exception):
    """A key cannot be read; the text says which, and what to do."""


class Seal(StrEnum):
    """What the signature of a report says."""

    GENUINE = "genuine"
    UNSIGNED = "not signed"
    OTHER_KEY = "signed with another key"
    CHANGED = "changed after it was signed"


def key_path() -> Path:
    """Where the instructor's private key lies."""
    return workspace.home() / "signing.pem"


def private_key() -> Ed25519PrivateKey:
    """Return the instructor's key, made now if there is none. Raises ``KeyUnusableError``."""
    path = key_path()
    with suppress(FileExistsError):
        _create(path)
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, OSError) as problem:
        told = f"the key {path} cannot be read ({problem}); move it away, and a new one is made"
        raise KeyUnusableError(told) from None
    if not isinstance(found, Ed25519PrivateKey):
        raise KeyUnusableError(f"{path} is no Ed25519 key; move it away, and a new one is made")
    return found


def _create(path: Path) -> None:
    """Write a new key whole or not at all, for its owner's eyes only. Raises ``FileExistsError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise FileExistsError
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        os.link(part, path)
    finally:
        part.unlink(missing_ok=True)


def public_text(key: Ed25519PublicKey) -> str:
    """Write a public key as one word."""
    return _word(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def read_public(text: str) -> Ed25519PublicKey:
    """Read a public key from the word, or from a file that holds it. Raises ``KeyUnusableError``."""
    with suppress(OSError, UnicodeDecodeError):
        text = Path(text).read_text(encoding="ascii")
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except ValueError:
        raise KeyUnusableError(f"{text.strip()[:60]!r} is no public key; `course verify --public` prints one") from None


def sign(report: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the report with a signature of all that is in it."""
    content = {name: value for name, value in report.items() if name != "signature"}
    value = _word(key.sign(_canonical(content)))
    return {**content, "signature": {"algorithm": ALGORITHM, "key": public_text(key.public_key()), "value": value}}


def examine(report: Mapping[str, Any], key: Ed25519PublicKey) -> Seal:
    """Say what the signature of a report, as read from JSON, is worth to the owner of a key."""
    signature = report.get("signature")
    if not signature:
        return Seal.UNSIGNED
    content = {name: value for name, value in report.items() if name != "signature"}
    try:
        if signature["key"] != public_text(key):
            return Seal.OTHER_KEY
        key.verify(base64.b64decode(signature["value"], validate=True), _canonical(content))
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return Seal.CHANGED
    return Seal.GENUINE if signature.get("algorithm") == ALGORITHM else Seal.CHANGED


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _word(data: bytes) -> str:
    return base64.b64encode(data).decode()
