"""Refusals: how a service turns away whom it does not know, and settings that it must not start with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grader.expectation import demand, expect
from grader.messages import new_message

if TYPE_CHECKING:
    from grader.bench import Bench
    from grader.exchange import Exchange

PROVIDER_ROUTES = ("/chat", "/chat/stream", "/summarize", "/batch-process")
"""The routes of labs 2 to 4 that lead to the model."""


def valid_body(route: str, text: str | None = None) -> dict[str, object]:
    """Return a good body for a provider route, about a text (a new message when none is given)."""
    said = text or new_message()
    if route == "/summarize":
        return {"text": said}
    return {"items": [said]} if route == "/batch-process" else {"message": said}


def challenged(exchange: Exchange, because: str = "") -> Exchange:
    """The answer is 401 with the challenge that goes with it (RFC 9110, section 11.6.1)."""
    expect(exchange).status(401, because=because).header("WWW-Authenticate", lambda text: bool(text.strip()))
    return exchange


def alike(exchanges: Sequence[Exchange], what: str) -> None:
    """All answers have the same body, apart from the request id; ``what`` names them."""
    first = _masked(exchanges[0])
    for other in exchanges[1:]:
        if _masked(other) != first:
            demand(False, f"{what} get different bodies; they must not tell what was wrong.", [exchanges[0], other])


def _masked(exchange: Exchange) -> object:
    told = exchange.headers.get("x-request-id")
    text = exchange.text.replace(told, "") if told else exchange.text
    try:
        body = json.loads(text)
    except ValueError:
        return text
    if isinstance(body, dict):
        body.pop("request_id", None)
    return body


@dataclass(frozen=True)
class BadSetting:
    """A variable set as it must not be (None: absent), what is wrong with it, and the part that no line may show."""

    name: str
    value: str | None
    wrong: str
    secret: str = field(default="", repr=False)


def refuses_settings(services: Bench, settings: Sequence[BadSetting]) -> None:
    """With each of the settings, the process ends with an error, names the variable, and does not show the value."""
    ends = services.all_refuse([{each.name: each.value} for each in settings])
    for each, end in zip(settings, ends, strict=True):
        case = f"With {each.name} {each.wrong} the service"
        demand(end.code != 0, f"{case} ended with exit code 0; it must not look like success.")
        named = any(each.name.lower() in line.lower() for line in end.lines)
        demand(named, f"{case} ended, and no line that it wrote names {each.name}.")
        shown = each.secret and any(each.secret in line for line in end.lines)
        demand(not shown, f"{case} ended, and its output shows the value that it refused.")
