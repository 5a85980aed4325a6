"""What callers say and what they are called: words that vary, follow from a seed, and were never said before."""

from __future__ import annotations

import random

AGENTS = ("curl/8.14.1", "Mozilla/5.0 (X11; Linux x86_64)", "okhttp/5.1.0", "Go-http-client/1.1", "PostmanRuntime/7.45")
"""Agent strings that any client may send; a service must not care which."""

_VARIED = random.Random()  # seeded anew for each run; the run's seed stands in its report

_OPENINGS = (
    "Explain to a new colleague",
    "What would you tell a customer about",
    "Write two lines on",
    "Why do people care about",
    "Give one example of",
    "In plain words, describe",
    "Compare with last year:",
    "List what can go wrong with",
)
_SUBJECTS = (
    "the harbour lights",
    "invoices in spring",
    "a quiet library",
    "night trains",
    "tomato seedlings",
    "the bakery queue",
    "old maps",
    "rain on tin roofs",
    "chess openings",
    "the blue notebook",
)


def reseed(seed: str) -> None:
    """Make messages, names and agents follow from a seed."""
    _VARIED.seed(seed)


def agent() -> str:
    """Return one of the agent strings."""
    return _VARIED.choice(AGENTS)


def nonce(length: int = 10) -> str:
    """Random lower-case letters that no text, hexadecimal id or earlier run contains."""
    return "".join(_VARIED.choices("ghjkmnpqrstvwxyz", k=length))


def new_message() -> str:
    """A message nobody has sent before, in words that vary, without digits and negations."""
    return f"{_VARIED.choice(_OPENINGS)} {_VARIED.choice(_SUBJECTS)} {nonce()}"
