"""Chat completions, whole and streamed."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grader.provider import tokens
from grader.provider.answers import pieces
from grader.provider.exchange import Refusal
from grader.provider.script import Answer

if TYPE_CHECKING:
    from grader.provider.exchange import Exchange


@dataclass(frozen=True)
class Completion:
    """An answer with what it costs: ``reasoning`` tokens were thought and are paid, but not said."""

    content: str
    finish_reason: str
    prompt_tokens: int
    visible: int
    reasoning: int

    @property
    def completion_tokens(self) -> int:
        """All tokens that the model made."""
        return self.visible + self.reasoning

    @property
    def usage(self) -> dict[str, Any]:
        """The usage as the API reports it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }

    @property
    def entries(self) -> dict[str, Any]:
        """What the ledger writes down."""
        return {
            "content": self.content,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


async def answer_chat(exchange: Exchange) -> None:
    """Answer a chat call, streamed or whole."""
    completion = _complete(exchange)
    if exchange.call.stream:
        await _Stream(exchange, completion).run()
    else:
        _whole(exchange, completion)


def _complete(exchange: Exchange) -> Completion:
    request, namespace = exchange.call.request, exchange.namespace
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        raise Refusal(400, "Invalid 'messages': expected a non-empty array of objects.", parameter="messages")
    scripted = namespace.script.pick(Answer, exchange.call)
    content = scripted.text if scripted else namespace.author.write(exchange.call.text)
    if exchange.misdeed == "empty":
        content = ""
    content, reason = _limited(content, request.get("max_completion_tokens") or request.get("max_tokens"))
    thought = namespace.author.reasoning_tokens()
    return Completion(content, reason, tokens.count_prompt(messages), tokens.count(content), thought)


def _limited(content: str, limit: object) -> tuple[str, str]:
    if not isinstance(limit, int) or limit < 1 or tokens.count(content) <= limit:
        return content, "stop"
    return tokens.first(content, limit), "length"


def _whole(exchange: Exchange, completion: Completion) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": completion.content, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}
    answer = {**_head(exchange, "chat.completion"), "choices": [choice], "usage": completion.usage}
    if exchange.misdeed == "no_usage":
        del answer["usage"]
    exchange.finish(answer, **completion.entries)


def _head(exchange: Exchange, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": exchange.call.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


class _Stream:
    """A streamed answer: a chunk with the role, the pieces, a chunk with the reason, and the usage if asked for."""

    def __init__(self, exchange: Exchange, completion: Completion) -> None:
        self.exchange = exchange
        self.completion = completion
        self.connection = exchange.connection
        self.head = _head(exchange, "chat.completion.chunk")
        options = exchange.call.request.get("stream_options")
        self.with_usage = isinstance(options, dict) and options.get("include_usage") is True
        if self.with_usage:
            self.head["usage"] = None

    async def run(self) -> None:
        self.connection.begin(200, "text/event-stream; charset=utf-8", {"cache-control": "no-cache"})
        self.exchange.namespace.ledger.note(self.exchange.call, status=200)
        self._delta({"role": "assistant", "content": ""})
        for piece in pieces(self.completion.content):
            if await self._broken():
                return
            self._delta({"content": piece})
            self._count()
        if not await self._broken():
            self._close()

    async def _broken(self) -> bool:
        """Wait as scripted before the next token (the wait for the first is over), then commit a fault due here."""
        exchange, fault = self.exchange, self.exchange.fault
        if exchange.sent:
            await exchange.pause()
        if fault is None or fault.misdeed not in {"cut", "hang", "error_event"} or exchange.sent < fault.after_tokens:
            return False
        if fault.misdeed == "hang":
            await asyncio.get_running_loop().create_future()
        if fault.misdeed == "error_event":
            self._event({"error": {"message": fault.message, "type": "server_error", "param": None, "code": None}})
        if fault.clean:
            self.connection.end()
        exchange.hang_up()
        return True

    def _count(self) -> None:
        exchange, completion = self.exchange, self.completion
        exchange.sent += 1
        exchange.billed = {"prompt_tokens": completion.prompt_tokens, "completion_tokens": exchange.sent}
        exchange.namespace.ledger.note(exchange.call, tokens_sent=exchange.sent)

    def _delta(self, delta: dict[str, str], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        self._event({**self.head, "choices": [choice]})

    def _close(self) -> None:
        exchange = self.exchange
        self._delta({}, self.completion.finish_reason)
        if self.with_usage and exchange.misdeed != "no_usage":
            self._event({**self.head, "choices": [], "usage": self.completion.usage})
        exchange.namespace.ledger.end(exchange.call, fault=exchange.misdeed, **self.completion.entries)
        self.connection.send(b"data: [DONE]\n\n")
        self.connection.end()

    def _event(self, data: dict[str, Any]) -> None:
        self.connection.send(b"data: %b\n\n" % json.dumps(data).encode())
