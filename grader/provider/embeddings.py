"""Embeddings: near for texts that mean the same, far for others, and always the same for the same text."""

from __future__ import annotations

import asyncio
import base64
import math
import struct
import zlib
from typing import TYPE_CHECKING

from grader.provider import minilm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Embedder = Callable[[str], list[float]]

DIMENSIONS = 384
_KEPT = 5000


class Embeddings:
    """Gives vectors for texts by their meaning; the model is loaded for the first of them, in a thread."""

    def __init__(self) -> None:
        self._loading: asyncio.Future[tuple[str, Embedder]] | None = None
        self._known: dict[str, list[float]] = {}

    async def load(self) -> tuple[str, Embedder]:
        """Load the model now instead of at the first text, and give its name and itself."""
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        return await asyncio.shield(self._loading)  # whoever waits for it may go away

    async def of(self, text: str) -> list[float]:
        """Give the vector of one text, of length 1."""
        if text not in self._known:
            _, embed = await self.load()
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[text] = await asyncio.to_thread(embed, text)
        return self._known[text]


def _load() -> tuple[str, Embedder]:
    try:
        return minilm.MODEL, minilm.load()
    except ImportError:
        return "hashed n-grams", hashed


def hashed(text: str) -> list[float]:
    """Embed by the letters alone: a stand-in that knows spelling but no meaning."""
    vector = [0.0] * DIMENSIONS
    for word in text.lower().split():
        padded = f" {word} "
        for gram in (word, *(padded[at : at + 3] for at in range(len(padded) - 2))):
            number = zlib.crc32(gram.encode("utf-8", "surrogatepass"))
            vector[number % DIMENSIONS] += 1.0 if number & 0x10000 else -1.0
    return shortened(vector, DIMENSIONS)


def shortened(vector: Sequence[float], dimensions: int) -> list[float]:
    """Keep the first dimensions and make the length 1 again, as the real service does."""
    kept = vector[:dimensions]
    length = math.sqrt(sum(value * value for value in kept)) or 1.0
    return [value / length for value in kept]


def packed(vector: Sequence[float]) -> str:
    """Encode a vector as the wire's base64: 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
