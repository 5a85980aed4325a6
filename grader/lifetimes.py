"""Lifetimes: when what a service keeps in Redis goes away. Keys are for looking at; their names are never judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis

_SIZES = {
    "hash": "HLEN",
    "set": "SCARD",
    "zset": "ZCARD",
    "list": "LLEN",
    "string": "STRLEN",
    "stream": "XLEN",
}


def lifetimes(client: redis.Redis) -> dict[str, float]:
    """Seconds that each key still lives; keys without an end are left out."""
    found = {_text(key): int(client.pttl(key)) / 1000 for key in client.scan_iter()}
    return {key: seconds for key, seconds in found.items() if seconds >= 0}


def lasting(client: redis.Redis) -> dict[str, int]:
    """The keys without an end, each with the number of its elements."""
    found = {}
    for key in client.scan_iter():
        if client.pttl(key) == -1:
            kind = _text(client.type(key))
            found[_text(key)] = int(client.execute_command(_SIZES.get(kind, "STRLEN"), key))  # type: ignore[no-untyped-call]
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
