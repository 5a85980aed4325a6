from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from grader.api import Api, Pool
from grader.settings import Settings
from grader.tokens import CLAIMS, LEEWAY, payload, signed, with_bad_claims, with_bad_signatures

UNCHECKED: Any = {"verify_signature": True} | {f"verify_{name}": False for name in CLAIMS}


@pytest.fixture
def api() -> Api:
    settings = Settings.draw(users=1, changes={}, rng=random.Random(1))
    service: Any = SimpleNamespace(address=("127.0.0.1", 1), name="none")
    return Api(service, settings, Pool.of(settings), database=None)  # type: ignore[arg-type]


def decode(api: Api, token: str) -> dict[str, Any]:
    env = api.settings.env
    return jwt.decode(
        token,
        env["JWT_SECRET"],
        algorithms=["HS256"],
        issuer=env["JWT_ISSUER"],
        audience=env["JWT_AUDIENCE"],
        leeway=LEEWAY,
        options={"require": list(CLAIMS)},
    )


def test_a_token_by_hand_is_good(api: Api) -> None:
    token = signed({"alg": "HS256", "typ": "JWT"}, payload(api, "ada"), api.settings.env["JWT_SECRET"])
    assert decode(api, token)["sub"] == "ada"
    assert set(decode(api, api.mint("ada"))) == set(CLAIMS)


def test_bad_claims_are_bad_and_rightly_signed(api: Api) -> None:
    for what, token in with_bad_claims(api, "ada").items():
        jwt.decode(token, api.settings.env["JWT_SECRET"], algorithms=["HS256"], options=UNCHECKED)
        if what == "of an unknown user":
            assert decode(api, token)["sub"] != "ada"
            continue
        with pytest.raises(jwt.InvalidTokenError):
            decode(api, token)


def test_bad_signatures_are_bad(api: Api) -> None:
    for token in with_bad_signatures(api, "ada").values():
        with pytest.raises(jwt.PyJWTError):
            decode(api, token)
