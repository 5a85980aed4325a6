"""The models: the first, asked twice if it fails soon; then the second, once. Each with a breaker."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from .options import Options
from .watch import TOKENS

BAD = (httpx.HTTPError, httpx.StreamError, TimeoutError, ValueError, LookupError, TypeError, AttributeError)


class Unavailable(Exception):  # noqa: N818
    """The model gave no good answer."""


class Hopeless(Exception):  # noqa: N818
    """The provider says that the request is wrong."""


class Said(msgspec.Struct):
    text: str
    tokens: int
    model: str
    degraded: bool = False


class Fuse:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.blows = 0
        self.rest_until = 0.0
        self.tested = False

    @contextmanager
    def closed(self) -> Iterator[None]:
        test = self.blows >= self.options.breaker_failures
        if test and (self.tested or time.monotonic() < self.rest_until):
            raise Unavailable
        self.tested = test or self.tested
        try:
            yield
            self.blows = 0
        except Unavailable:
            self.blows += 1
            self.rest_until = time.monotonic() + self.options.breaker_cooldown_s
            raise
        finally:
            if test:
                self.tested = False


def usable(answer: httpx.Response) -> None:
    if 400 <= answer.status_code < 500 and answer.status_code != 429:
        raise Hopeless
    if answer.status_code != 200:
        raise Unavailable


class Oracle:
    def __init__(self, options: Options, http: httpx.AsyncClient) -> None:
        self.options = options
        self.http = http
        self.first, self.second = options.llm_model, options.llm_fallback_model
        self.fuses = {name: Fuse(options) for name in (self.first, self.second)}

    def question(self, model: str, text: str, temperature: float, system: str = "") -> dict[str, Any]:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": text})
        return {"model": model, "temperature": temperature, "messages": messages}

    async def say(self, text: str, temperature: float = 0.7, system: str = "") -> Said:
        """An answer within two patiences. Raises Unavailable and Hopeless."""
        start, patience = time.monotonic(), self.options.llm_timeout_s
        for attempt in (1, 2):
            try:
                asked = self.question(self.first, text, temperature, system)
                return await self.say_once(asked, start + patience - time.monotonic())
            except Unavailable:
                if attempt == 2 or time.monotonic() - start > patience / 3:
                    break
                await asyncio.sleep(random.uniform(0, patience / 20))
        asked = self.question(self.second, text, temperature, system)
        try:
            said = await self.say_once(asked, min(patience, start + 2 * patience + 0.2 - time.monotonic()))
        except Hopeless:
            raise Unavailable from None
        said.degraded = True
        return said

    async def say_once(self, asked: dict[str, Any], within: float) -> Said:
        with self.fuses[asked["model"]].closed():
            try:
                async with asyncio.timeout(within):
                    answer = await self.http.post("chat/completions", json=asked)
                    usable(answer)
                    body = answer.json()
                text, tokens = body["choices"][0]["message"]["content"], body["usage"]["total_tokens"]
            except BAD:
                raise Unavailable from None
            if not isinstance(text, str) or not text or type(tokens) is not int:
                raise Unavailable
        TOKENS.labels(asked["model"]).inc(tokens)
        return Said(text, tokens, asked["model"])

    async def speak(self, text: str, temperature: float) -> AsyncGenerator[str | int]:
        """The tokens, at last how many they were. Raises Unavailable and Hopeless."""
        begun = False
        for model in (self.first, self.second):
            try:
                async with aclosing(self.spoken_by(model, text, temperature)) as parts:
                    async for part in parts:
                        begun = True
                        yield part
            except Unavailable:
                if begun or model == self.second:
                    raise
            else:
                return

    async def spoken_by(self, model: str, text: str, temperature: float) -> AsyncGenerator[str | int]:
        asked = self.question(model, text, temperature)
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
        patience, tokens, over, begun = self.options.llm_timeout_s, 0, False, False
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience
        with self.fuses[model].closed():
            try:
                sending = self.http.build_request("POST", "chat/completions", json=asked)
                async with asyncio.timeout_at(deadline):
                    answer = await self.http.send(sending, stream=True)
                async with aclosing(answer):
                    lines = answer.aiter_lines()
                    usable(answer)
                    while True:
                        async with asyncio.timeout_at(deadline if not begun else clock() + patience):
                            line = await anext(lines, None)
                        if line is None:
                            break
                        if not line.startswith("data: {"):
                            continue
                        chunk = json.loads(line[6:])
                        tokens = (chunk.get("usage") or {}).get("total_tokens") or tokens
                        for choice in chunk["choices"]:
                            over = over or bool(choice.get("finish_reason"))
                            if choice["delta"].get("content"):
                                begun = True
                                yield choice["delta"]["content"]
            except BAD:
                raise Unavailable from None
            if not (over and tokens and begun):
                raise Unavailable
        TOKENS.labels(model).inc(tokens)
        yield tokens

    async def embed(self, text: str) -> NDArray[np.float32] | None:
        asked = {"model": self.options.llm_embed_model, "input": text}
        try:
            async with asyncio.timeout(min(self.options.llm_timeout_s, 1)):
                answer = await self.http.post("embeddings", json=asked)
                usable(answer)
                vector = np.asarray(answer.json()["data"][0]["embedding"], np.float32)
        except (*BAD, Unavailable, Hopeless):
            return None
        length = np.linalg.norm(vector)
        good = vector.ndim == 1 and np.isfinite(length) and length > 0
        return np.asarray(vector / length) if good else None

    async def offer(self) -> None:
        (await self.http.get("models")).raise_for_status()
