from __future__ import annotations

import json

import pytest

from grader.exchange import Exchange
from grader.expectation import Broken
from grader.refusals import PROVIDER_ROUTES, alike, challenged, valid_body


def refused(body: object, *, headers: dict[str, str] | None = None, status: int = 401) -> Exchange:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Exchange("POST", "/chat", (), b"", status, headers or {}, content, "", 0.0, 0.0, 0.0)


def test_request_ids_may_differ() -> None:
    alike([refused({"title": "no", "request_id": "a"}), refused({"title": "no", "request_id": "b"})], "Two")
    alike(
        [refused(b"no, a1", headers={"x-request-id": "a1"}), refused(b"no, b2", headers={"x-request-id": "b2"})], "Two"
    )


def test_nothing_else_may_differ() -> None:
    with pytest.raises(Broken, match="Two get different bodies"):
        alike([refused({"title": "no key"}), refused({"title": "wrong key"})], "Two")


def test_a_401_needs_its_challenge() -> None:
    challenged(refused({}, headers={"www-authenticate": "Bearer"}))
    for exchange in (refused({}), refused({}, status=403, headers={"www-authenticate": "Bearer"})):
        with pytest.raises(Broken):
            challenged(exchange)


def test_every_provider_route_has_a_good_body() -> None:
    assert [next(iter(valid_body(route, "about tea"))) for route in PROVIDER_ROUTES] == [
        "message",
        "message",
        "text",
        "items",
    ]
