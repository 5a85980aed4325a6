"""Answers that are bought once and served often (section 5)."""

from __future__ import annotations

import asyncio  # SOLUTION 5
import hashlib  # SOLUTION 5
import json  # SOLUTION 5
import time  # SOLUTION 5
from dataclasses import dataclass
from enum import StrEnum
from functools import partial  # SOLUTION 5
from typing import TYPE_CHECKING

from app.model import Completion

if TYPE_CHECKING:
    import numpy as np
    from fastapi import FastAPI
    from numpy.typing import NDArray

    from app.model import Model, Prompt
    from app.semantic import SemanticIndex
    from app.settings import Settings
    from app.shared import Shared


class Source(StrEnum):
    """Where an answer came from."""

    MISS = "MISS"
    HIT = "HIT"
    SEMANTIC = "SEMANTIC"
    STALE = "STALE"


@dataclass(frozen=True)
class Answer:
    """A completion and where it came from; its properties are the fields of `ChatResponse`."""

    completion: Completion
    source: Source = Source.MISS

    @property
    def response(self) -> str:
        """The model's text."""
        return self.completion.text

    @property
    def tokens_used(self) -> int:
        """What the completion cost when it was made."""
        return self.completion.tokens

    @property
    def model(self) -> str:
        """Which model made it."""
        return self.completion.model

    @property
    def from_cache(self) -> bool:
        """Whether it is an earlier one."""
        return self.source is not Source.MISS

    @property
    def degraded(self) -> bool:
        """Whether it is less than what the caller asked for."""
        return self.completion.degraded or self.source is Source.STALE

    @property
    def headers(self) -> dict[str, str]:
        """What the response says about it beside its body."""
        # BEGIN SOLUTION 5: Name the source.
        #: return {}
        return {"X-Cache": self.source}
        # END SOLUTION


class Answers:
    """Answers prompts: here, each by the model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    async def answer(self, caller: str, prompt: Prompt) -> Answer:  # noqa: ARG002  # for caches, which are per caller
        """Return the answer to one caller's prompt. Raises ModelError."""
        return Answer(await self.model.complete(prompt))

    async def earlier(self, caller: str, prompt: Prompt) -> Answer | None:  # noqa: ARG002
        """Return the answer that this caller got to the same prompt, if one is kept, however old it is."""
        return None


# BEGIN SOLUTION 5: Look in Redis first; what is asked by several at once is looked up and bought once.
@dataclass(frozen=True)
class Kept:
    """A completion in the cache, and when it was made, in seconds since the epoch."""

    completion: Completion
    at: float

    def dump(self) -> str:
        """Return it as it is stored."""
        return json.dumps([self.at, self.completion.text, self.completion.tokens, self.completion.model])

    @classmethod
    def load(cls, stored: str | bytes) -> Kept | None:
        """Return what was stored, None if it is damaged or of another version."""
        try:
            at, text, tokens, model = json.loads(stored)
        except (ValueError, TypeError):
            return None
        return cls(Completion(text, tokens, model), at)


class CachedAnswers(Answers):
    """Answers prompts from the cache where it can."""

    def __init__(self, model: Model, shared: Shared, settings: Settings, index: SemanticIndex | None) -> None:
        super().__init__(model)
        self._shared = shared
        self._settings = settings
        self._index = index
        self._flights: dict[str, asyncio.Task[Answer]] = {}

    async def answer(self, caller: str, prompt: Prompt) -> Answer:
        """Return the answer; whoever asks the same in the meantime waits for it, and nobody's leaving stops it."""
        key = self._key(caller, prompt)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._find_or_ask(key, caller, prompt))
            flight.add_done_callback(partial(self._landed, key))
        return await asyncio.shield(flight)

    def _landed(self, key: str, flight: asyncio.Task[Answer]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, even if nobody waits any more

    async def _find_or_ask(self, key: str, caller: str, prompt: Prompt) -> Answer:
        if kept := await self._kept(key, self._settings.cache_ttl_s):
            return Answer(kept.completion, Source.HIT)
        vector = await self._index.vector(prompt.text) if self._index else None
        if vector is not None and (kept := await self._alike(key, caller, prompt, vector)):
            return Answer(kept.completion, Source.SEMANTIC)
        completion = await self.model.complete(prompt)
        if not completion.degraded:
            await self._keep(key, Kept(completion, time.time()))
            if self._index and vector is not None:
                await self._index.add(self._scope(caller, prompt), prompt.text, vector, key)
        return Answer(completion)

    async def earlier(self, caller: str, prompt: Prompt) -> Answer | None:
        """Return an answer that is too old for now, but better than none."""
        kept = await self._kept(self._key(caller, prompt), self._settings.cache_stale_ttl_s)
        return Answer(kept.completion, Source.STALE) if kept else None

    async def _alike(self, key: str, caller: str, prompt: Prompt, vector: NDArray[np.float32]) -> Kept | None:
        """Return the answer to a question like this one; it now answers this one too, for as long as the other."""
        index = self._index
        twin = await index.nearest(self._scope(caller, prompt), prompt.text, vector) if index else None
        kept = await self._kept(twin, self._settings.cache_ttl_s) if twin else None
        if kept:
            await self._keep(key, kept)
        return kept

    async def _kept(self, key: str, lifetime: float) -> Kept | None:
        """Return what is stored, if it is not older than `lifetime` seconds."""
        stored = await self._shared.attempt(lambda redis: redis.get(f"answer:{key}"))
        kept = Kept.load(stored) if stored else None
        return kept if kept and time.time() - kept.at <= lifetime else None

    async def _keep(self, key: str, kept: Kept) -> None:
        longest = max(self._settings.cache_ttl_s, self._settings.cache_stale_ttl_s)
        rest = max(1, round(1000 * (kept.at + longest - time.time())))
        await self._shared.attempt(lambda redis: redis.set(f"answer:{key}", kept.dump(), px=rest))

    def _key(self, caller: str, prompt: Prompt) -> str:
        """Return what identifies a question; a digest, so that nobody reads questions in a list of keys."""
        return digest("answer", caller, self._settings.llm_model, prompt.temperature, prompt.system, prompt.text)

    def _scope(self, caller: str, prompt: Prompt) -> str:
        """Return the key under which the questions are kept that may share an answer."""
        models = self._settings.llm_model, self._settings.llm_embed_model
        return "alike:" + digest("alike", caller, *models, prompt.temperature, prompt.system)


def digest(*parts: str | float) -> str:
    """Return a digest of the parts; JSON keeps them apart, so that no two lists look the same."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# END SOLUTION


def caching(app: FastAPI, answers: Answers) -> Answers:
    """Return what answers /chat."""
    # BEGIN SOLUTION 5: Put the cache around the model, and the semantic one only where it is wanted: it needs numpy.
    #: return answers
    settings: Settings = app.state.settings
    index = None
    if settings.semantic_cache_threshold > 0:
        from app.semantic import SemanticIndex  # noqa: PLC0415

        index = SemanticIndex(settings, app.state.shared, app.state.http)
    return CachedAnswers(answers.model, app.state.shared, settings, index)
    # END SOLUTION
