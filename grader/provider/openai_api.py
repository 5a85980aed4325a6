"""OpenAI's API as clients see it: ``/v1/chat/completions``, ``/v1/embeddings`` and ``/v1/models``.

Source of the format: the OpenAI API reference, as spoken by the ``openai`` and ``langchain-openai`` packages.
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grader.provider import tokens
from grader.provider.chat import answer_chat
from grader.provider.embeddings import packed
from grader.provider.exchange import Exchange, Refusal, error_body
from grader.provider.ledger import PRICES, Kind
from grader.provider.namespace import safe_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grader.provider.connection import Job, Request
    from grader.provider.namespace import Namespace

_EMBEDDINGS_AT_ONCE = 2048
_UNREADABLE = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


@dataclass(frozen=True)
class Route:
    """A path of the API: its method, the kind of its calls, how their text is read and how they are answered."""

    method: str
    kind: Kind
    text: Callable[[dict[str, Any]], str]
    answer: Callable[[Exchange], Awaitable[None]]


def handle(namespace: Namespace, request: Request) -> Job:
    """Enter a request into the ledger, which stays true whatever happens, and give the job that answers it."""
    route = ROUTES.get(request.path.removesuffix("/"), NOWHERE)
    body = _parsed(request.body)
    call = namespace.ledger.arrive(
        route.kind,
        str(body.get("model", "")),
        _text(route, body),
        body,
        safe_headers(request),
        stream=body.get("stream") is True,
    )
    exchange = Exchange(namespace, call, request.connection)
    request.connection.when_lost = exchange.abandon
    return functools.partial(_answer, route, request, exchange)


async def _answer(route: Route, request: Request, exchange: Exchange) -> None:
    try:
        await _try_to_answer(route, request, exchange)
    except Refusal as refusal:
        exchange.refuse(refusal)


async def _try_to_answer(route: Route, request: Request, exchange: Exchange) -> None:
    if not exchange.namespace.admits(request.headers):
        raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
    if route is not NOWHERE and request.method != route.method:
        raise Refusal(405, f"Not allowed to {request.method} on {request.path}.")
    if route.method == "POST":
        _check(exchange)
    if not await exchange.misbehaves():
        await route.answer(exchange)


def _check(exchange: Exchange) -> None:
    if not exchange.call.request:
        raise Refusal(400, "We could not parse the JSON body of your request.")
    if not exchange.call.model:
        raise Refusal(400, "You must provide a model parameter.", parameter="model")
    if not exchange.call.model.startswith("lab-"):
        raise Refusal(404, f"The model `{exchange.call.model}` does not exist.", code="model_not_found")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _text(route: Route, body: dict[str, Any]) -> str:
    try:
        return route.text(body)
    except _UNREADABLE:
        return ""  # the route itself will refuse it


def _last_user_message(body: dict[str, Any]) -> str:
    contents = [message.get("content") for message in body.get("messages", ()) if message.get("role") == "user"]
    return tokens.text_of(contents[-1]) if contents else ""


def _inputs(body: dict[str, Any]) -> list[str]:
    """Read the texts to be embedded: a string, strings, token numbers or lists of token numbers."""
    given = body.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise ValueError("no input")
    return [item if isinstance(item, str) else tokens.decode(item) for item in given]


async def _embed(exchange: Exchange) -> None:
    body = exchange.call.request
    try:
        texts = _inputs(dict(body))
    except _UNREADABLE:
        raise Refusal(400, "'$.input' is invalid.", parameter="input") from None
    if len(texts) > _EMBEDDINGS_AT_ONCE or "" in texts:
        raise Refusal(400, "'$.input' is invalid.", parameter="input")
    dimensions = body.get("dimensions")
    if dimensions is not None and (not isinstance(dimensions, int) or dimensions < 1):
        raise Refusal(400, "Invalid 'dimensions': expected a positive integer.", parameter="dimensions")
    vectors = [await exchange.namespace.vector(text, dimensions) for text in texts]
    encode = packed if body.get("encoding_format") == "base64" else list
    used = sum(tokens.count(text) for text in texts)
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": encode(item)} for at, item in enumerate(vectors)],
        "model": exchange.call.model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }
    if exchange.misdeed in {"empty", "no_usage"}:
        del answer["data" if exchange.misdeed == "empty" else "usage"]
    exchange.finish(answer, prompt_tokens=used)


async def _list_models(exchange: Exchange) -> None:
    models = [{"id": name, "object": "model", "created": int(time.time()), "owned_by": "lab"} for name in PRICES]
    exchange.finish({"object": "list", "data": models})


async def _nowhere(exchange: Exchange) -> None:
    exchange.respond(404, error_body(404, "Unknown request URL."))


NOWHERE = Route("", "other", lambda _: "", _nowhere)
ROUTES = {
    "/v1/chat/completions": Route("POST", "chat", _last_user_message, answer_chat),
    "/v1/embeddings": Route("POST", "embeddings", lambda body: "\n".join(_inputs(body)), _embed),
    "/v1/models": Route("GET", "models", lambda _: "", _list_models),
}
