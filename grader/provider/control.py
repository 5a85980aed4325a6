"""The control plane: what a grader asks of the provider, on a port of its own and behind a token.

Every verb is a POST of a JSON object to ``/<verb>``; ``namespace`` names the API key that it is about.
"""

from __future__ import annotations

import functools
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any

from grader.provider import page
from grader.provider.ledger import Match
from grader.provider.script import Action, Answer, Fault, Hold, Latency, Rule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from grader.provider.connection import Job, Request
    from grader.provider.ledger import Call
    from grader.provider.server import Server

    Verb = Callable[["Server", dict[str, Any]], Awaitable[dict[str, Any]]]

_ACTIONS: dict[str, type[Action]] = {"fault": Fault, "latency": Latency, "answer": Answer}


def handle(server: Server, request: Request) -> Job:
    """Give the job that answers a request to the control port."""
    return functools.partial(_answer, server, request)


async def _answer(server: Server, request: Request) -> None:
    offered = request.headers.get("authorization", "").removeprefix("Bearer ") or request.parameter("token")
    if not hmac.compare_digest(offered.encode("utf-8", "replace"), server.token.encode()):
        request.connection.respond(401, b'{"error": "wrong token"}')
        return
    if request.method == "GET" and request.path in page.PAGES:
        await page.PAGES[request.path](server, request)
        return
    verb = VERBS.get(request.path.removeprefix("/"))
    if request.method != "POST" or verb is None:
        request.connection.respond(404, b'{"error": "no such verb"}')
        return
    try:
        status, answer = 200, await verb(server, json.loads(request.body or b"{}"))
    except (KeyError, TypeError, ValueError) as error:
        status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
    request.connection.respond(status, json.dumps(answer).encode())


def record(call: Call) -> dict[str, Any]:
    """Give a call as it goes over the wire."""
    return vars(call)


def _match(body: Mapping[str, Any]) -> Match:
    return Match(body.get("containing"), body.get("kind"), body.get("model"))


async def _open(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    namespace = await server.open(f"sk-{secrets.token_urlsafe(24)}", body.get("seed"))
    return {"namespace": namespace.key, "base_url": namespace.base_url}


async def _close(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    server.close(body["namespace"])
    return {}


async def _calls(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    namespace = server.namespace(body)
    found = await namespace.wait_for(
        _match(body), body.get("count", 0), body.get("state"), body.get("since", 0), body.get("timeout", 0.0)
    )
    return {"calls": [record(call) for call in found], "last": namespace.ledger.last}


async def _last(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    return {"last": server.namespace(body).ledger.last}


async def _bill(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    return server.namespace(body).ledger.bill().as_dict()


async def _rule(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    action = _ACTIONS[body["action"]](**body["settings"])
    return {"number": server.namespace(body).script.add(Rule(_match(body), action, body.get("times")))}


async def _gate(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    return {"number": server.namespace(body).script.add_gate(Hold(_match(body), body.get("after_tokens", 0)))}


async def _held(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    namespace = server.namespace(body)
    return {"held": await namespace.wait_held(body["number"], body["count"], body["timeout"])}


async def _release(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    gate = server.namespace(body).script.gates.get(body["number"])
    if gate is not None:
        gate.release(body["count"])
    return {}


async def _remove(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    server.namespace(body).script.remove(body["number"])
    return {}


async def _reset(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    namespace = server.namespace(body)
    namespace.script.clear()
    namespace.vectors.clear()
    namespace.switches.clear()
    await namespace.port.open()
    namespace.ledger.notify()
    return {}


async def _vectors(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    server.namespace(body).vectors.update(body["vectors"])
    return {}


async def _warm(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    server.namespace(body).semantic = True
    return {"model": (await server.embeddings.load())[0]}


async def _switch(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    page.switch(server.namespace(body), body["model"], body["fault"])
    return {}


async def _refuse(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    port = server.namespace(body).port
    if body["refuse"]:
        port.refuse()
    else:
        await port.open()
    server.namespace(body).ledger.notify()
    return {}


VERBS: dict[str, Verb] = {
    "open": _open,
    "close": _close,
    "calls": _calls,
    "last": _last,
    "bill": _bill,
    "rule": _rule,
    "gate": _gate,
    "held": _held,
    "release": _release,
    "remove": _remove,
    "reset": _reset,
    "vectors": _vectors,
    "warm": _warm,
    "refuse": _refuse,
    "switch": _switch,
}
