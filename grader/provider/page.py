"""The provider's page: calls as they come, the running bill, and switches that break the model.

The page is one HTML file that asks for nothing but ``events`` (server-sent events) and posts to the control port's
verbs, all relative to its own address, so that it also works below a proxy's path.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.provider.ledger import OTHER_PRICE, PRICES, Match
from grader.provider.script import Fault, Latency, Rule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grader.provider.connection import Request
    from grader.provider.ledger import Call, Ledger
    from grader.provider.namespace import Namespace
    from grader.provider.script import Action
    from grader.provider.server import Server

SHOWN = 200
"""How many calls the page shows at most."""

_PACE_S = 0.1
_EXCERPT = 240
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"

SWITCHES: dict[str, Action] = {
    "429": Fault.status(429, retry_after=5),
    "500": Fault.status(500),
    "hang": Fault.hang(),
    "slow": Latency(3.0, per_token=0.3),
    "cut": Fault.cut(after_tokens=4),
    "malformed": Fault.malformed(),
    "refuse": Fault.disconnect(),
}
"""What can be switched on for a model, by the names that the page uses."""


def switch(namespace: Namespace, model: str, fault: str) -> None:
    """Switch a fault on for a model, or with an empty name off. KeyError when there is no such fault."""
    action = SWITCHES[fault] if fault else None
    _, number = namespace.switches.pop(model, ("", 0))
    namespace.script.remove(number)
    if action is not None:
        rule = Rule(Match(kind=None, model=model), action)
        namespace.switches[model] = (fault, namespace.script.add(rule))
    namespace.ledger.notify()


async def _show(server: Server, request: Request) -> None:
    del server
    body = Path(__file__).with_name("page.html").read_bytes()
    headers = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer", "cache-control": "no-store"}
    request.connection.respond(200, body, "text/html; charset=utf-8", headers)


async def _events(server: Server, request: Request) -> None:
    named = request.parameter("namespace") or next(iter(server.namespaces), "")
    namespace = server.namespaces.get(named)
    if namespace is None:
        request.connection.respond(404, b'{"error": "no such namespace"}')
        return
    request.connection.begin(200, "text/event-stream", {"cache-control": "no-store", "x-accel-buffering": "no"})
    ledger, changed = namespace.ledger, namespace.ledger.subscribe()
    shown, unfinished = max(0, ledger.last - SHOWN), set[int]()
    state = {"first": True}
    try:
        while True:
            changed.clear()
            news = [call for call in _latest(ledger) if call.id > shown or call.id in unfinished]
            shown, unfinished = ledger.last, {call.id for call in news if call.finished is None}
            data = json.dumps({**state, **_state(namespace), "calls": [_row(call) for call in news]})
            request.connection.send(f"data: {data}\n\n".encode())
            state = {"first": False}
            await asyncio.sleep(_PACE_S)
            await changed.wait()
    finally:
        ledger.unsubscribe(changed)


def _latest(ledger: Ledger) -> list[Call]:
    numbers = range(max(1, ledger.last - SHOWN + 1), ledger.last + 1)
    return [ledger.calls[number] for number in numbers if number in ledger.calls]


def _state(namespace: Namespace) -> dict[str, Any]:
    ledger = namespace.ledger
    others = {call.model for call in ledger.calls.values() if call.model.startswith("lab-")} - PRICES.keys()
    models = [*PRICES, *sorted(others)]
    prices = [PRICES.get(model, OTHER_PRICE) for model in models]
    return {
        "base_url": namespace.base_url,
        "api_key": namespace.key,
        "bill": ledger.bill().as_dict(),
        "running": ledger.running,
        "refusing": namespace.port.refusing,
        "models": [
            {"name": name, "prompt": price.prompt, "completion": price.completion, "fault": fault}
            for name, price in zip(models, prices, strict=True)
            for fault in [namespace.switches.get(name, ("", 0))[0]]
        ],
    }


def _row(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "at": time.time() - (time.monotonic() - call.arrived),
        "kind": call.kind,
        "model": call.model,
        "stream": call.stream,
        "text": call.text[:_EXCERPT],
        "content": call.content[:_EXCERPT],
        "state": call.state,
        "status": call.status,
        "fault": call.fault,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "price_usd": call.price_usd,
        "seconds": call.seconds,
    }


PAGES: dict[str, Callable[[Server, Request], Awaitable[None]]] = {"/": _show, "/events": _events}
"""What a browser may GET on the control port."""
