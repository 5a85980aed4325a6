"""Error answers: one form for all of them, RFC 9457, with nothing inside that a stranger should not see (section 7)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request


# TODO (lab 7): Describe the form in /openapi.json: clients are generated from it.


def problem(
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None, errors: list[Any] | None = None
) -> Response:
    """Return an error answer; `detail` is for people, `errors` names the fields of a request that are wrong."""
    title = HTTPStatus(status).phrase
    # TODO (lab 7): Answer in the form of RFC 9457, with the id of the request.
    return JSONResponse({"detail": errors or detail or title}, status, headers)


def invalid(field: str, message: str, *, where: str = "body") -> RequestValidationError:
    """Return the error for a field that only the running service can judge."""
    return RequestValidationError([{"type": "value_error", "loc": (where, field), "msg": message}])


def install(app: FastAPI) -> None:
    """Make all errors of the application answer in one form."""

    # TODO (lab 2): Say which field is wrong and why, but never send back what stood in it.
    # TODO (lab 7): Give FastAPI's own errors the form, 404 and 405 too, and turn lost dependencies into 503.
