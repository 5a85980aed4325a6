"""The language model: one prompt in, one completion or a stream of its tokens out (section 2)."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import openai  # SOLUTION 2
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage  # SOLUTION 2
from langchain_openai import ChatOpenAI  # SOLUTION 2

from app import drain, telemetry, tracing  # SOLUTION 2
from app.errors import ModelError, ModelRefused, ModelUnavailable  # SOLUTION 2

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
        # BEGIN SOLUTION 2: Make a ChatOpenAI that gives up after our deadline, once, and counts the tokens of streams.
        self._patience = settings.llm_timeout_s
        self._llm = ChatOpenAI(
            model=name,
            base_url=str(settings.openai_base_url).rstrip("/"),
            api_key=settings.openai_api_key,
            http_async_client=http,
            timeout=settings.llm_timeout_s,
            max_retries=0,  # the client's own retries would know neither our deadline nor our breaker
            stream_usage=True,  # with a base_url of our own, LangChain does not ask for it by itself
        )
        # END SOLUTION

    async def complete(self, prompt: Prompt, *, within: float = math.inf) -> Completion:
        """Return the answer, asked for once. Raises ModelError."""
        # BEGIN SOLUTION 2: Await the model (a blocking call would stop all requests), under a deadline.
        #: raise NotImplementedError
        with provider_errors(), tracing.asking(self.name) as span:
            async with asyncio.timeout(min(within, self._patience)):
                reply = await self._llm.ainvoke(conversation(prompt), temperature=prompt.temperature)
            return self._whole(str(reply.content), reply.usage_metadata, span)
        # END SOLUTION

    async def stream(self, prompt: Prompt, *, within: float = math.inf) -> AsyncGenerator[str | Completion]:
        """Yield the tokens as they come, then the whole answer. Raises ModelError, also when the stream breaks off."""
        # BEGIN SOLUTION 2: Pass each token on at once; a stream without a finish_reason has broken off.
        #: raise NotImplementedError
        #: yield ""
        tokens: list[str] = []
        usage: UsageMetadata | None = None
        finished = False
        with provider_errors(), tracing.asking(self.name) as span:
            async with aclosing(self._chunks(prompt, min(within, self._patience))) as chunks:
                async for chunk in chunks:
                    usage = chunk.usage_metadata or usage
                    finished = finished or bool(chunk.response_metadata.get("finish_reason"))
                    if token := str(chunk.content):
                        tokens.append(token)
                        yield token
            if not finished:  # LangChain takes a cut line for the end
                raise ModelUnavailable("stream broken off")
            yield self._whole("".join(tokens), usage, span)
        # END SOLUTION

    # BEGIN SOLUTION 2: Bound the wait for the first token and for each further one.
    async def _chunks(self, prompt: Prompt, first: float) -> AsyncGenerator[AIMessageChunk]:
        """Yield what the provider sends; the first token has `first` seconds, each further one the model's patience."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + first
        stream = self._llm.astream(conversation(prompt), temperature=prompt.temperature)
        while True:
            async with drain.token_deadline(deadline):
                chunk = await anext(stream, None)
            if not isinstance(chunk, AIMessageChunk):
                return
            if chunk.content:
                deadline = clock() + self._patience
            yield chunk

    def _whole(self, text: str, usage: UsageMetadata | None, span: Any) -> Completion:  # noqa: ANN401
        """Return a completion that has all that was promised."""
        if not text or usage is None:
            raise ModelUnavailable("answer without text or usage")
        telemetry.count_tokens(self.name, usage["total_tokens"])
        tracing.count_tokens(span, usage["total_tokens"])
        return Completion(text, usage["total_tokens"], self.name)

    # END SOLUTION


# BEGIN SOLUTION 2: Keep the user's text apart from our instruction, and the provider's errors to ourselves.
def conversation(prompt: Prompt) -> list[BaseMessage]:
    """Return the prompt as messages; no template, so that braces in the user's text stay braces."""
    return [SystemMessage(prompt.system), HumanMessage(prompt.text)]


@contextmanager
def provider_errors() -> Iterator[None]:
    """Turn whatever goes wrong with a call into a ModelError that repeats nothing of the provider's text."""
    try:
        yield
    except ModelError:
        raise
    except openai.APIStatusError as error:
        status = error.status_code
        if status < 500 and status != 429:
            raise ModelRefused(f"status {status}") from None
        raise ModelUnavailable(f"status {status}") from None
    except Exception as error:  # noqa: BLE001  # a time-out, a cut line, HTML for JSON: every layer has types of its own
        raise ModelUnavailable(type(error).__name__) from None


# END SOLUTION
