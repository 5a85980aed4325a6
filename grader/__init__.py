"""The vocabulary of a check file. Names are loaded when they are first used, so that `grade --help` stays quick."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grader.api import Api
    from grader.bench import Bench
    from grader.client import Caller
    from grader.declaration import Lab, check
    from grader.exchange import Exchange, burst
    from grader.expectation import Broken, Inconclusive, Skip, demand, expect
    from grader.messages import new_message, nonce
    from grader.provider import Fault, Provider
    from grader.stack import Stack

_HOMES = {
    "Api": "api",
    "Bench": "bench",
    "Broken": "expectation",
    "Caller": "client",
    "Exchange": "exchange",
    "Fault": "provider",
    "Inconclusive": "expectation",
    "Lab": "declaration",
    "Provider": "provider",
    "Skip": "expectation",
    "Stack": "stack",
    "burst": "exchange",
    "check": "declaration",
    "demand": "expectation",
    "expect": "expectation",
    "new_message": "messages",
    "nonce": "messages",
}

__all__ = [
    "Api",
    "Bench",
    "Broken",
    "Caller",
    "Exchange",
    "Fault",
    "Inconclusive",
    "Lab",
    "Provider",
    "Skip",
    "Stack",
    "burst",
    "check",
    "demand",
    "expect",
    "new_message",
    "nonce",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name == "load_ipython_extension":
        return importlib.import_module("grader.notebook").load_ipython_extension
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"grader.{_HOMES[name]}"), name)
