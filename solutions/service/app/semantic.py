"""The semantic cache: questions that are put differently and mean the same (section 5).

An embedding is a direction; the cosine of the angle between two says how alike their texts are. It hardly sees numbers
and negations, though, so those are compared as words.
"""

from __future__ import annotations

import asyncio  # SOLUTION 5
import hashlib  # SOLUTION 5
import re
import time  # SOLUTION 5
from contextlib import suppress  # SOLUTION 5
from typing import TYPE_CHECKING, cast

import numpy as np  # SOLUTION 5
from langchain_openai import OpenAIEmbeddings  # SOLUTION 5

from app.errors import ModelError  # SOLUTION 5
from app.model import provider_errors  # SOLUTION 5

if TYPE_CHECKING:
    import openai
    from numpy.typing import NDArray
    from redis.asyncio import Redis

    from app.settings import Settings
    from app.shared import Shared

LATEST = 128
"""How many questions of one caller are compared; one matrix product does it, and memory stays bounded."""
EMBEDDING_WITHIN_S = 1.0

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NEGATION = re.compile(r"\b(?:not|no|never|none|without|cannot)\b|n['\u2019]t\b", re.IGNORECASE)


# BEGIN SOLUTION 5: Two questions may share an answer only if their numbers agree and both negate, or neither does.
def signature(text: str) -> int:
    """Return a number that is the same for texts with the same numbers in the same order and the same polarity."""
    meaning = f"{NUMBER.findall(text)} {NEGATION.search(text) is not None}"
    return int.from_bytes(hashlib.blake2b(meaning.encode(), digest_size=8).digest())


# END SOLUTION


# BEGIN SOLUTION 5: Keep the latest questions' vectors in Redis, and compare a new one with all of them at once.
def entry_type(dimensions: int) -> np.dtype[np.void]:
    """Return the layout of one kept question: when, its signature, the key of its answer, its vector of length 1."""
    return np.dtype([("at", "f8"), ("signature", "u8"), ("key", "V32"), ("vector", "f4", (dimensions,))])


class SemanticIndex:
    """Which questions a model has answered, by meaning."""

    def __init__(self, settings: Settings, shared: Shared, http: openai.DefaultAsyncHttpxClient) -> None:
        self._shared = shared
        self._threshold = settings.semantic_cache_threshold
        self._lifetime = settings.cache_ttl_s
        self._patience = min(settings.llm_timeout_s, EMBEDDING_WITHIN_S)
        self._embeddings = OpenAIEmbeddings(
            model=settings.llm_embed_model,
            base_url=str(settings.openai_base_url).rstrip("/"),
            api_key=settings.openai_api_key,
            http_async_client=http,
            max_retries=0,
            check_embedding_ctx_length=False,  # would fetch a tokenizer from the internet
        )

    async def vector(self, text: str) -> NDArray[np.float32] | None:
        """Return the direction of a text, None where the provider does not help: the cache is not worth an error."""
        with suppress(ModelError), provider_errors():
            async with asyncio.timeout(self._patience):
                numbers = await self._embeddings.aembed_query(text)
            vector = np.asarray(numbers, dtype=np.float32)
            length = np.linalg.norm(vector)
            if vector.ndim == 1 and np.isfinite(length) and length > 0:
                return np.asarray(vector / length)
        return None

    async def nearest(self, scope: str, text: str, vector: NDArray[np.float32]) -> str | None:
        """Return the key of the answer to the most similar question that is similar enough."""
        layout = entry_type(vector.size)
        kept = cast("list[bytes]", await self._shared.attempt(lambda redis: redis.lrange(scope, 0, LATEST - 1)) or [])
        entries = np.frombuffer(b"".join(entry for entry in kept if len(entry) == layout.itemsize), layout)
        entries = entries[(entries["at"] > time.time() - self._lifetime) & (entries["signature"] == signature(text))]
        if not entries.size:
            return None
        likeness = entries["vector"] @ vector
        best = int(likeness.argmax())
        return entries["key"][best].tobytes().hex() if likeness[best] >= self._threshold else None

    async def add(self, scope: str, text: str, vector: NDArray[np.float32], key: str) -> None:
        """Keep a question that a model has answered; the oldest of its scope makes room."""
        entry = np.array(
            [(time.time(), signature(text), bytes.fromhex(key), vector)], entry_type(vector.size)
        ).tobytes()

        async def push(redis: Redis) -> None:
            async with redis.pipeline() as pipe:
                pipe.lpush(scope, entry)
                pipe.ltrim(scope, 0, LATEST - 1)
                pipe.pexpire(scope, int(self._lifetime * 1000))
                await pipe.execute()

        await self._shared.attempt(push)


# END SOLUTION
