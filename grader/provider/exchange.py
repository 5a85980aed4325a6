"""One call and its answer: what every kind of call shares, from the scripted wait to the entry in the ledger."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from grader.provider.script import Fault, Latency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grader.provider.connection import Connection
    from grader.provider.ledger import Call
    from grader.provider.namespace import Namespace

_TYPES = {401: "invalid_request_error", 429: "rate_limit_error", 500: "server_error", 503: "service_unavailable_error"}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
_WHOLE = frozenset({"", "empty", "no_usage"})


class Refusal(Exception):  # noqa: N818  # it is no error of ours
    """A request that the API answers with an error of its own accord."""

    def __init__(self, status: int, message: str, *, parameter: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, parameter=parameter, code=code)


class Exchange:
    """A call being answered on its connection, with the fault and the latency that the script has for it."""

    def __init__(self, namespace: Namespace, call: Call, connection: Connection) -> None:
        self.namespace = namespace
        self.call = call
        self.connection = connection
        self.fault = namespace.script.pick(Fault, call)
        self.latency = namespace.script.pick(Latency, call)
        self.sent = 0
        self.billed: dict[str, Any] = {}

    @property
    def misdeed(self) -> str:
        """What the fault is, or an empty string."""
        return self.fault.misdeed if self.fault else ""

    async def pause(self) -> None:
        """Wait as the script says before the next token of a stream, or before a whole answer."""
        await self.namespace.pause(self.call, self.sent, self.latency)

    async def misbehaves(self) -> bool:
        """Wait as scripted, then commit the faults that need no answer; False when an answer is to come."""
        await self.pause()
        fault = self.fault
        if fault is None or fault.misdeed in _WHOLE:
            return False
        self.namespace.ledger.note(self.call, fault=self._name(fault))
        if fault.misdeed == "error_event" and not self.call.stream:
            self.respond(fault.code, error_body(fault.code, fault.message))
        elif fault.misdeed == "status":
            self.respond(fault.code, error_body(fault.code, fault.message), headers=fault.headers)
        elif fault.misdeed == "malformed" and self.call.stream:
            self.respond(200, f"data: {fault.body}\n\n".encode(), "text/event-stream")
        elif fault.misdeed in {"raw", "malformed"}:
            self.respond(fault.code, fault.body.encode(), fault.content_type)
        elif fault.misdeed == "disconnect":
            self.hang_up()
        elif fault.misdeed == "drip":
            await self._drip(fault)
        elif fault.misdeed == "hang" and not (self.call.stream and fault.after_tokens):
            await asyncio.get_running_loop().create_future()
        else:
            return False
        return True

    def finish(self, answer: Mapping[str, Any], **entries: Any) -> None:  # noqa: ANN401
        """Send a whole answer; ``entries`` are the ledger's."""
        body = json.dumps(answer).encode()
        if self.misdeed == "cut":
            self.namespace.ledger.end(self.call, status=200)
            self.connection.respond(200, body[: len(body) // 2], length=len(body))
            self.connection.abort()
            return
        self.namespace.ledger.note(self.call, fault=self.misdeed, **entries)
        self.respond(200, body)

    def respond(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send these bytes as the answer and close the ledger entry first, so that it never lags behind the client."""
        self.namespace.ledger.end(self.call, status=status)
        self.connection.respond(status, body, content_type, headers)

    def hang_up(self) -> None:
        """Close the connection; that is the end of the call."""
        self.namespace.ledger.end(self.call, tokens_sent=self.sent)
        self.connection.abort()

    def refuse(self, refusal: Refusal) -> None:
        """Answer with the API's own error."""
        self.respond(refusal.status, refusal.body)

    def abandon(self) -> None:
        """Write down that the connection is gone: by the client, or by us when the port was closed."""
        if self.connection.dropped:
            self.namespace.ledger.end(self.call, fault=self.call.fault or "refused", tokens_sent=self.sent)
        else:
            self.namespace.ledger.end(self.call, "cancelled", tokens_sent=self.sent, **self.billed)

    async def _drip(self, fault: Fault) -> None:
        if self.call.stream:
            self.connection.begin(200, "text/event-stream")
        else:
            self.connection.begin(200, "application/json")
        while True:
            self.connection.send(b": wait\n\n" if self.call.stream else b" ")
            await asyncio.sleep(fault.seconds)

    @staticmethod
    def _name(fault: Fault) -> str:
        return f"status {fault.code}" if fault.misdeed == "status" else fault.misdeed


def error_body(status: int, message: str, *, parameter: str | None = None, code: str | None = None) -> bytes:
    """Build an error as OpenAI's API words it."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": parameter, "code": code or _CODES.get(status)}
    return json.dumps({"error": error}).encode()
