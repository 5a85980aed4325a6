"""The language model: one prompt in, one completion or a stream of its tokens out (section 2)."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from typing import Any

    from langchain_core.messages.ai import UsageMetadata
    from openai import DefaultAsyncHttpxClient

    from app.settings import Settings


@dataclass(frozen=True)
class Prompt:
    """What a model is asked: our instruction and the user's text, kept apart (OWASP LLM01:2025)."""

    text: str
    temperature: float = 0.7
    system: str = "You are a helpful assistant."


@dataclass(frozen=True)
class Completion:
    """A whole answer of a model; `tokens` is what the provider bills, prompt included."""

    text: str
    tokens: int
    model: str
    degraded: bool = False
    """Not by the model that was meant to answer."""


class Model(Protocol):
    """Something that answers prompts; `within` seconds bound the answer or, of a stream, the first token."""

    async def complete(self, prompt: Prompt, *, within: float = math.inf) -> Completion:
        """Return the answer. Raises ModelError."""

    def stream(self, prompt: Prompt, *, within: float = math.inf) -> AsyncGenerator[str | Completion]:
        """Yield the tokens as they come, then the whole answer. Raises ModelError."""


class ChatModel:
    """One model of an OpenAI-compatible provider, called through LangChain."""

    def __init__(self, name: str, settings: Settings, http: DefaultAsyncHttpxClient) -> None:
        self.name = name
        # TODO (lab 2): Make a ChatOpenAI that gives up after our deadline, once, and counts the tokens of streams.

    async def complete(self, prompt: Prompt, *, within: float = math.inf) -> Completion:
        """Return the answer, asked for once. Raises ModelError."""
        # TODO (lab 2): Await the model (a blocking call would stop all requests), under a deadline.
        raise NotImplementedError

    async def stream(self, prompt: Prompt, *, within: float = math.inf) -> AsyncGenerator[str | Completion]:
        """Yield the tokens as they come, then the whole answer. Raises ModelError, also when the stream breaks off."""
        # TODO (lab 2): Pass each token on at once; a stream without a finish_reason has broken off.
        raise NotImplementedError
        yield ""

    # TODO (lab 2): Bound the wait for the first token and for each further one.


# TODO (lab 2): Keep the user's text apart from our instruction, and the provider's errors to ourselves.
