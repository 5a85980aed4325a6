"""Answers although the model fails: deadlines, retries, a breaker, a second model, an earlier answer (section 7)."""

from __future__ import annotations

import asyncio  # SOLUTION 7
import math  # SOLUTION 7
import random  # SOLUTION 7
import time  # SOLUTION 7
from contextlib import aclosing  # SOLUTION 7
from dataclasses import replace  # SOLUTION 7
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect  # SOLUTION 7

from app import door  # SOLUTION 7
from app.breaker import Breaker, BreakerOpenError  # SOLUTION 7
from app.cache import Answers
from app.errors import ModelError, ModelUnavailable  # SOLUTION 7
from app.model import ChatModel, Completion

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import openai
    from fastapi import Request

    from app.cache import Answer
    from app.model import Model, Prompt
    from app.settings import Settings

ATTEMPTS = 2
"""How often one request asks one model: two models, so at most four completions."""
LONGEST_PAUSE_S = 0.2
SHORTEST_CALL_S = 0.1


# BEGIN SOLUTION 7: Ask again soon, once, at a random moment, and only if the time that the model has allows it.
class GuardedModel:
    """A model behind a breaker, asked again if it fails fast; all within the time of one answer."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self._model = model
        self._patience = settings.llm_timeout_s
        self._fair = self._patience / 2  # with less time than this it is not worth asking again
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_cooldown_s)

    async def complete(self, prompt: Prompt, *, within: float = math.inf) -> Completion:
        """Return the answer. Raises ModelError."""
        deadline = self._deadline(within)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                left = deadline - time.monotonic()
                with self._breaker.call(fair=left >= self._fair):
                    return await self._model.complete(prompt, within=left)
            except ModelUnavailable as error:
                await self._pause_or_raise(error, attempt, deadline)
        raise AssertionError("the last attempt returns or raises")

    async def stream(self, prompt: Prompt, *, within: float = math.inf) -> AsyncGenerator[str | Completion]:
        """Yield the tokens, then the whole answer. Raises ModelError; asks again only before the first token."""
        deadline = self._deadline(within)
        begun = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                left = deadline - time.monotonic()
                with self._breaker.call(fair=left >= self._fair):
                    async with aclosing(self._model.stream(prompt, within=left)) as tokens:
                        async for token in tokens:
                            begun = True
                            yield token
            except ModelUnavailable as error:
                if begun:
                    raise
                await self._pause_or_raise(error, attempt, deadline)
            else:
                return

    def _deadline(self, within: float) -> float:
        """Return when to give up; a request that comes too late says nothing about the model, so it is not asked."""
        if within < SHORTEST_CALL_S:
            raise ModelUnavailable("no time left")
        return time.monotonic() + min(within, self._patience)

    async def _pause_or_raise(self, error: ModelUnavailable, attempt: int, deadline: float) -> None:
        """Wait for a random time, so that clients that failed together do not come back together."""
        late = deadline - time.monotonic() < self._fair
        if attempt == ATTEMPTS or late or isinstance(error, BreakerOpenError):
            raise error
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))


# END SOLUTION


# BEGIN SOLUTION 7: Let a second model answer where the first cannot, and say so.
class FallbackModel:
    """Two models: the second answers, degraded, where the first is unavailable."""

    def __init__(self, first: Model, second: Model, patience: float) -> None:
        self._first = first
        self._second = second
        self._patience = patience

    def _time(self) -> float:
        """Return what the request has left of the time of two models and a second."""
        return door.seconds_left(2 * self._patience + 1)

    async def complete(self, prompt: Prompt, *, within: float = math.inf) -> Completion:
        """Return the answer. Raises ModelError."""
        try:
            return await self._first.complete(prompt, within=min(within, self._time()))
        except ModelUnavailable as error:
            first = error
        try:
            return replace(await self._second.complete(prompt, within=min(within, self._time())), degraded=True)
        except ModelError as second:
            raise both_failed(first, second) from None

    async def stream(self, prompt: Prompt, *, within: float = math.inf) -> AsyncGenerator[str | Completion]:
        """Yield the tokens, then the whole answer. Raises ModelError; changes models only before the first token."""
        begun = False
        try:
            async with aclosing(self._first.stream(prompt, within=min(within, self._time()))) as tokens:
                async for token in tokens:
                    begun = True
                    yield token
        except ModelUnavailable as error:
            if begun:
                raise
            first = error
        else:
            return
        try:
            async with aclosing(self._second.stream(prompt, within=min(within, self._time()))) as tokens:
                async for token in tokens:
                    yield replace(token, degraded=True) if isinstance(token, Completion) else token
        except ModelError as second:
            raise both_failed(first, second) from None


def both_failed(first: ModelUnavailable, second: ModelError) -> ModelUnavailable:
    """Return the error for two models that failed: it is worth waiting for the one that is back sooner."""
    waits = [error.retry_after for error in (first, second) if isinstance(error, ModelUnavailable)]
    return ModelUnavailable("both models", retry_after=min(waits))


# END SOLUTION


def resilient(settings: Settings, http: openai.DefaultAsyncHttpxClient) -> Model:
    """Return the model that the routes ask."""
    # BEGIN SOLUTION 7: Put a breaker around each of two models, and the fallback around both.
    #: return ChatModel(settings.llm_model, settings, http)
    names = settings.llm_model, settings.llm_fallback_model
    first, second = (GuardedModel(ChatModel(name, settings, http), settings) for name in names)
    return FallbackModel(first, second, settings.llm_timeout_s)
    # END SOLUTION


async def begun(request: Request, tokens: AsyncGenerator[str | Completion]) -> AsyncGenerator[str | Completion]:
    """Return a stream that has a first token. Raises ModelError where none comes, so that a status can say so."""
    # BEGIN SOLUTION 7: Wait for the first token; if the client leaves before it comes, stop the model.
    #: return tokens
    first = asyncio.ensure_future(anext(tokens))
    gone = asyncio.create_task(disconnected(request))
    try:
        await asyncio.wait({first, gone}, return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            return resumed(first.result(), tokens)
        raise ClientDisconnect
    finally:
        gone.cancel()
        first.cancel()  # has no effect on one that is done
    # END SOLUTION


# BEGIN SOLUTION 7: Watch the client, and put the first token back in front of the others.
async def disconnected(request: Request) -> None:
    """Return when the client has gone; the body has been read by now, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def resumed(first: str | Completion, rest: AsyncGenerator[str | Completion]) -> AsyncGenerator[str | Completion]:
    """Yield the first token, then the rest."""
    async with aclosing(rest):
        yield first
        async for token in rest:
            yield token


# END SOLUTION


def forgiving(answers: Answers) -> Answers:
    """Return what answers /chat when no model does."""
    # BEGIN SOLUTION 7: Fall back on an earlier answer to the same question.
    #: return answers
    return ForgivingAnswers(answers)
    # END SOLUTION


# BEGIN SOLUTION 7: Prefer an old answer to none.
class ForgivingAnswers(Answers):
    """Gives an earlier answer where no model has one."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(answers.model)
        self._answers = answers

    async def answer(self, caller: str, prompt: Prompt) -> Answer:
        """Return the answer, a stale one if need be. Raises ModelError."""
        try:
            return await self._answers.answer(caller, prompt)
        except ModelUnavailable:
            if earlier := await self._answers.earlier(caller, prompt):
                return earlier
            raise


# END SOLUTION
