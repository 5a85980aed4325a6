"""Answers that are bought once and served often (section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
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
        # TODO (lab 5): Name the source.
        return {}


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


# TODO (lab 5): Look in Redis first; what is asked by several at once is looked up and bought once.


def caching(app: FastAPI, answers: Answers) -> Answers:
    """Return what answers /chat."""
    # TODO (lab 5): Put the cache around the model, and the semantic one only where it is wanted: it needs numpy.
    return answers
