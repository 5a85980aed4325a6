"""Error answers: one form for all of them, RFC 9457, with nothing inside that a stranger should not see (section 7)."""

from __future__ import annotations

import math  # SOLUTION 7
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog  # SOLUTION 7
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError  # SOLUTION 7
from starlette.exceptions import HTTPException  # SOLUTION 7
from starlette.requests import ClientDisconnect  # SOLUTION 7

from app import request_id  # SOLUTION 7
from app.errors import ModelRefused, ModelUnavailable, SharedDown  # SOLUTION 7

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request


# BEGIN SOLUTION 7: Describe the form in /openapi.json: clients are generated from it.
TEXT = {"type": "string"}
PROBLEM = {
    "type": "object",
    "properties": {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "request_id": TEXT, "detail": TEXT},
    "required": ["type", "title", "status", "request_id"],
}
ERROR = {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {"schema": PROBLEM}}}
RESPONSES = {"4XX": ERROR, "5XX": ERROR}
# END SOLUTION


def problem(
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None, errors: list[Any] | None = None
) -> Response:
    """Return an error answer; `detail` is for people, `errors` names the fields of a request that are wrong."""
    title = HTTPStatus(status).phrase
    # BEGIN SOLUTION 7: Answer in the form of RFC 9457, with the id of the request.
    #: return JSONResponse({"detail": errors or detail or title}, status, headers)
    body = {"type": "about:blank", "title": title, "status": status, "request_id": request_id.current()}
    body |= {"detail": detail} if detail else {}
    body |= {"errors": errors} if errors else {}
    return JSONResponse(body, status, headers, media_type="application/problem+json")
    # END SOLUTION


def invalid(field: str, message: str, *, where: str = "body") -> RequestValidationError:
    """Return the error for a field that only the running service can judge."""
    return RequestValidationError([{"type": "value_error", "loc": (where, field), "msg": message}])


def install(app: FastAPI) -> None:
    """Make all errors of the application answer in one form."""

    # BEGIN SOLUTION 2: Say which field is wrong and why, but never send back what stood in it.
    @app.exception_handler(RequestValidationError)
    async def unprocessable(_: Request, error: RequestValidationError) -> Response:
        errors = [{"loc": list(e["loc"]), "msg": e["msg"]} for e in error.errors()]
        return problem(422, "The request is not valid.", errors=errors)

    # END SOLUTION
    # BEGIN SOLUTION 7: Give FastAPI's own errors the form, 404 and 405 too, and turn lost dependencies into 503.
    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, error.detail, error.headers)

    @app.exception_handler(ModelUnavailable)
    async def no_model(_: Request, error: ModelUnavailable) -> Response:
        structlog.get_logger().warning("no model answers", reason=str(error))
        wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
        return problem(503, "No model answers at the moment.", wait)

    @app.exception_handler(ModelRefused)
    async def not_for_us(_: Request, error: ModelRefused) -> Response:
        structlog.get_logger().warning("the provider refuses", reason=str(error))
        return problem(502, "The model's provider does not accept the request.")

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; nginx's number for the records

    @app.exception_handler(SharedDown)
    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(TimeoutError)
    async def no_data(_: Request, error: Exception) -> Response:
        structlog.get_logger().warning("the data is away", reason=type(error).__name__)
        return problem(503, "The service cannot reach its data at the moment.", {"Retry-After": "2"})

    # END SOLUTION
