"""The model, spoken to over plain HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from .environment import Environment


class ProviderFailedError(Exception):
    """No answer, or not a good one."""


class ChatProvider:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.options: dict[str, Any] = {
            "base_url": environment.OPENAI_BASE_URL.rstrip("/"),
            "headers": {"Authorization": f"Bearer {environment.OPENAI_API_KEY}"},
            "timeout": environment.LLM_TIMEOUT_S,
        }
        self.client = httpx.Client(**self.options, limits=httpx.Limits(max_connections=200))

    def request(self, text: str, temperature: float, instruction: str) -> dict[str, Any]:
        messages = [{"role": "system", "content": instruction}] if instruction else []
        messages.append({"role": "user", "content": text})
        return {"model": self.environment.LLM_MODEL, "temperature": temperature, "messages": messages}

    def complete(self, text: str, temperature: float = 0.7, instruction: str = "") -> tuple[str, int]:
        try:
            answer = self.client.post("/chat/completions", json=self.request(text, temperature, instruction))
            answer.raise_for_status()
            said = answer.json()
            content, tokens = said["choices"][0]["message"]["content"], said["usage"]["total_tokens"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            raise ProviderFailedError from None
        if not content or not isinstance(content, str):
            raise ProviderFailedError
        return content, int(tokens)

    async def stream(self, text: str, temperature: float) -> AsyncIterator[str | int]:
        """The pieces of an answer, then its number of tokens."""
        asked = self.request(text, temperature, "") | {"stream": True, "stream_options": {"include_usage": True}}
        tokens: int | None = None
        try:
            async with (
                httpx.AsyncClient(**self.options) as client,
                client.stream("POST", "/chat/completions", json=asked) as answer,
            ):
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if not line.startswith("data: ") or line == "data: [DONE]":
                        continue
                    chunk = json.loads(line.removeprefix("data: "))
                    tokens = (chunk.get("usage") or {}).get("total_tokens", tokens)
                    for choice in chunk["choices"]:
                        if piece := choice["delta"].get("content"):
                            yield piece
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            raise ProviderFailedError from None
        if tokens is None:
            raise ProviderFailedError
        yield tokens
