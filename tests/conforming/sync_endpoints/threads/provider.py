"""The models, spoken to over plain HTTP, in threads; each has a breaker, the second helps out."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any, NamedTuple

import httpx

from .environment import Environment
from .sight import TOKENS

BAD = (httpx.HTTPError, httpx.StreamError, TimeoutError, ValueError, LookupError, TypeError, AttributeError)


class ProviderFailedError(Exception):
    """No answer, or not a good one."""


class ProviderRefusedError(Exception):
    """Asking again is of no use."""


class Completion(NamedTuple):
    text: str
    tokens: int
    model: str
    degraded: bool = False


class Breaker:
    def __init__(self, most: int, pause: float) -> None:
        self.most, self.pause = most, pause
        self.lock = threading.Lock()
        self.row, self.closed_until, self.trying = 0, 0.0, False

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        with self.lock:
            trial = self.row >= self.most
            if trial and (self.trying or time.monotonic() < self.closed_until):
                raise ProviderFailedError
            self.trying = self.trying or trial
        failed = False
        try:
            yield
            self.row = 0
        except ProviderFailedError:
            failed = True
            raise
        finally:
            with self.lock:
                if failed:
                    self.row += 1
                    self.closed_until = time.monotonic() + self.pause
                if trial:
                    self.trying = False


def judge(answer: httpx.Response) -> None:
    if answer.status_code == 429 or answer.status_code >= 500:
        raise ProviderFailedError
    if answer.status_code >= 400:
        raise ProviderRefusedError


class ChatProvider:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.options: dict[str, Any] = {
            "base_url": environment.OPENAI_BASE_URL.rstrip("/"),
            "headers": {"Authorization": f"Bearer {environment.OPENAI_API_KEY}"},
            "timeout": environment.LLM_TIMEOUT_S,
        }
        self.client = httpx.Client(**self.options, limits=httpx.Limits(max_connections=400))
        self.threads = concurrent.futures.ThreadPoolExecutor(300, "provider")
        self.models = environment.LLM_MODEL, environment.LLM_FALLBACK_MODEL
        most, pause = environment.BREAKER_FAILURES, environment.BREAKER_COOLDOWN_S
        self.breakers = {model: Breaker(most, pause) for model in self.models}

    def request(self, model: str, text: str, temperature: float, instruction: str) -> dict[str, Any]:
        messages = [{"role": "system", "content": instruction}] if instruction else []
        messages.append({"role": "user", "content": text})
        return {"model": model, "temperature": temperature, "messages": messages}

    def post(self, path: str, asked: dict[str, Any], within: float) -> Any:
        """The answer's JSON; httpx bounds each step, the future bounds them all."""
        waiting = self.threads.submit(self.client.post, path, json=asked, timeout=within)
        try:
            answer = waiting.result(within)
            judge(answer)
            return answer.json()
        except BAD:
            raise ProviderFailedError from None

    def complete(self, text: str, temperature: float = 0.7, instruction: str = "") -> Completion:
        with contextlib.suppress(ProviderFailedError):
            return self.complete_once(self.models[0], text, temperature, instruction)
        try:
            return self.complete_once(self.models[1], text, temperature, instruction)._replace(degraded=True)
        except ProviderRefusedError:
            raise ProviderFailedError from None

    def complete_once(self, model: str, text: str, temperature: float, instruction: str) -> Completion:
        with self.breakers[model].watch():
            asked = self.request(model, text, temperature, instruction)
            said = self.post("/chat/completions", asked, self.environment.LLM_TIMEOUT_S)
            try:
                content, tokens = said["choices"][0]["message"]["content"], int(said["usage"]["total_tokens"])
            except BAD:
                raise ProviderFailedError from None
            if not content or not isinstance(content, str):
                raise ProviderFailedError
        TOKENS.labels(model).inc(tokens)
        return Completion(content, tokens, model)

    def embedding(self, text: str) -> list[float] | None:
        asked = {"model": self.environment.LLM_EMBED_MODEL, "input": text, "encoding_format": "float"}
        try:
            said = self.post("/embeddings", asked, min(1.0, self.environment.LLM_TIMEOUT_S))
            vector = [float(number) for number in said["data"][0]["embedding"]]
        except (*BAD, ProviderFailedError, ProviderRefusedError):
            return None
        return vector if any(vector) else None

    def offered(self) -> None:
        self.client.get("/models", timeout=1.5).raise_for_status()

    async def stream(self, text: str, temperature: float) -> AsyncGenerator[str | int]:
        """The pieces of an answer, then its number of tokens."""
        begun = False
        for model in self.models:
            try:
                async for piece in self.stream_of(model, text, temperature):
                    begun = True
                    yield piece
            except ProviderFailedError:
                if begun or model == self.models[1]:
                    raise
            else:
                return

    async def stream_of(self, model: str, text: str, temperature: float) -> AsyncGenerator[str | int]:
        asked = self.request(model, text, temperature, "") | {"stream": True, "stream_options": {"include_usage": True}}
        tokens, ended, patience = 0, False, self.environment.LLM_TIMEOUT_S
        deadline = time.monotonic() + patience
        with self.breakers[model].watch():
            try:
                async with httpx.AsyncClient(**self.options) as client, contextlib.AsyncExitStack() as stack:
                    async with asyncio.timeout(patience):
                        answer = await stack.enter_async_context(client.stream("POST", "/chat/completions", json=asked))
                    judge(answer)
                    lines = answer.aiter_lines()
                    while True:
                        async with asyncio.timeout(deadline - time.monotonic()):
                            line = await anext(lines, None)
                        if line is None:
                            break
                        if not line.startswith("data: {"):
                            continue
                        chunk = json.loads(line.removeprefix("data: "))
                        tokens = (chunk.get("usage") or {}).get("total_tokens", tokens)
                        for choice in chunk["choices"]:
                            ended = ended or bool(choice.get("finish_reason"))
                            if piece := choice["delta"].get("content"):
                                deadline = time.monotonic() + patience
                                yield piece
            except BAD:
                raise ProviderFailedError from None
            if not tokens or not ended:
                raise ProviderFailedError
        TOKENS.labels(model).inc(tokens)
        yield tokens
