"""Passwords: kept as argon2id hashes, checked in threads, for a hash takes the processor some 30 ms (section 3)."""

from __future__ import annotations

import asyncio
from functools import cache  # SOLUTION 3

from pwdlib import PasswordHash  # SOLUTION 3
from pwdlib.hashers.argon2 import Argon2Hasher  # SOLUTION 3

# BEGIN SOLUTION 3: Hash with argon2id; 19 MiB and two passes are what OWASP's Password Storage Cheat Sheet asks for.
HASHER = PasswordHash((Argon2Hasher(memory_cost=19_456, time_cost=2, parallelism=1),))


@cache
def nobodys_hash() -> str:
    """Return a hash that no password was made for."""
    return HASHER.hash("no one has this password")


def matches(password: str, password_hash: str | None) -> bool:
    """Tell whether a password is the hashed one; without a hash takes as long and says no."""
    return HASHER.verify(password, password_hash or nobodys_hash()) and password_hash is not None


# END SOLUTION


async def hashed(password: str) -> str:
    """Return what to store for a password."""
    # BEGIN SOLUTION 3: Hash in a thread.
    #: return password
    return await asyncio.to_thread(HASHER.hash, password)
    # END SOLUTION


async def verified(password: str, password_hash: str | None) -> bool:
    """Tell whether a password is the stored one; None stands for a user that does not exist."""
    # BEGIN SOLUTION 3: Check in a thread, and take as long for a user that does not exist.
    #: return password == password_hash
    return await asyncio.to_thread(matches, password, password_hash)
    # END SOLUTION
