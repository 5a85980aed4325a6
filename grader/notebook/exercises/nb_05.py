"""Exercises of notebook 05, caching."""

from __future__ import annotations

import asyncio
import random
import re
import string
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.notebook.judge import demand, exercise_check

Question = tuple[str, str, float, str]
Key = Callable[[str, str, float, str], str]
Ask = Callable[[], Awaitable[object]]
Once = Callable[[str, Ask], Coroutine[Any, Any, object]]
Vector = NDArray[np.float64]

SEPARATORS = (":", "|", ",", "-", "/", " ", "\n", "\0", '","', '", "', "', '", "::")
PATIENCE = 5.0
"""Seconds until a coroutine that never ends is given up."""


@exercise_check("05-key")
def key(cache_key: Key, draw: random.Random) -> None:
    """`cache_key(caller, message, temperature, model)`: a SHA-256 in hex that no two questions share."""
    for _ in range(40):
        question = (_word(draw), _word(draw), draw.choice((0.0, 0.7, 1.0, 2.0)), _word(draw))
        said = cache_key(*question)
        right = isinstance(said, str) and re.fullmatch("[0-9a-f]{64}", said)
        demand(right, f"cache_key{question} has to be 64 hex digits, as sha256(…).hexdigest() gives, not {said!r}")
        demand(said == cache_key(*question), f"cache_key{question} gives another key the second time")
        for other in _others(question, draw):
            demand(cache_key(*other) != said, f"{question} and {other} are two questions with one key")
    for one, other in _lookalikes(draw):
        demand(cache_key(*one) != cache_key(*other), f"{one} and {other} are two questions with one key")


def _others(question: Question, draw: random.Random) -> Iterator[Question]:
    """Give questions that differ from one: in one part, or only in where the parts begin."""
    caller, message, temperature, model = question
    yield _word(draw), message, temperature, model
    yield caller, _word(draw), temperature, model
    yield caller, message, temperature + 0.1, model
    yield caller, message, temperature, _word(draw)
    yield caller, message.upper(), temperature, model


def _lookalikes(draw: random.Random) -> Iterator[tuple[Question, Question]]:
    """Give pairs that differ only in where their parts begin, for all usual ways to join them."""
    one, two, three, model = (_word(draw) for _ in range(4))
    for mark in ("", *SEPARATORS):
        yield (one, two + mark + three, 0.7, model), (one + mark + two, three, 0.7, model)
        yield (one, two, 0.7, f"0.7{mark}{model}"), (one, f"{two}{mark}0.7", 0.7, model)


@exercise_check("05-flight")
def flight(once: Once, draw: random.Random) -> None:
    """`await once(key, ask)`: one call of `ask` for all who come while it runs."""
    _awaited(_crowd(once, draw))
    _awaited(_later(once, draw))
    _awaited(_failing(once, draw))
    _awaited(_leader_leaves(once, draw))


class _Model:
    """Something to ask that counts, and answers only when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.go = asyncio.Event()
        self._error = error

    async def ask(self) -> object:
        self.calls += 1
        call = self.calls
        await self.go.wait()
        if self._error:
            raise self._error
        return f"answer {call}"


async def _started(count: int, once: Once, name: str, model: _Model) -> list[asyncio.Task[object]]:
    tasks = [asyncio.ensure_future(once(name, model.ask)) for _ in range(count)]
    await _settled()
    return tasks


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _crowd(once: Once, draw: random.Random) -> None:
    count, model, other = draw.randint(3, 30), _Model(), _Model()
    tasks = await _started(count, once, _word(draw), model)
    tasks += await _started(1, once, _word(draw), other)
    model.go.set()
    other.go.set()
    answers = await asyncio.gather(*tasks)
    demand(model.calls == 1, f"{count} came at once with one key, and ask() was called {model.calls} times, not once")
    demand(other.calls == 1, "someone with another key came meanwhile, and their ask() was not called")
    demand(set(answers) == {"answer 1"}, f"{count} came at once and got {sorted(map(str, set(answers)))}")


async def _later(once: Once, draw: random.Random) -> None:
    model, name = _Model(), _word(draw)
    model.go.set()
    for number in (1, 2):
        said = await once(name, model.ask)
        await _settled()
        demand(
            model.calls == number,
            "once the call is over, the next with that key has to call again: that it is "
            "kept longer is the cache's affair",
        )
        demand(said == f"answer {number}", f"call {number} gave {said!r}")


async def _failing(once: Once, draw: random.Random) -> None:
    model, name = _Model(ConnectionError("the model is away")), _word(draw)
    tasks = await _started(3, once, name, model)
    model.go.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    demand(all(isinstance(end, ConnectionError) for end in ends), f"ask() failed, and three waiters got {ends}")
    well = _Model()
    well.go.set()
    try:
        await once(name, well.ask)
    except ConnectionError:
        demand(holds=False, otherwise="a call failed, and the next one with that key gets the old failure")


async def _leader_leaves(once: Once, draw: random.Random) -> None:
    model = _Model()
    leader, *others = await _started(4, once, _word(draw), model)
    leader.cancel()
    await _settled()
    model.go.set()
    ends = await asyncio.gather(*others, return_exceptions=True)
    demand(
        not any(isinstance(end, asyncio.CancelledError) for end in ends),
        "the first caller was cancelled, and took the call that the others wait for along",
    )
    demand(model.calls == 1, f"the first caller was cancelled, and ask() was called {model.calls} times, not once")


def _awaited(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, in a thread: the kernel's own loop runs already."""

    async def bounded() -> None:
        try:
            await asyncio.wait_for(coroutine, PATIENCE)
        except TimeoutError:
            demand(holds=False, otherwise="a caller waits for ever")

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, bounded()).result()


@exercise_check("05-guard")
def guard(may_share: Callable[[str, str], bool], draw: random.Random) -> None:
    """`may_share(one, two)`: the same numbers in the same order, and a negation in both or in neither."""
    word, number = _word(draw), draw.randint(10, 99)
    cases = [
        (f"Convert {number} {word}", f"How much is {number} {word}?", True),
        (f"Convert {number} {word}", f"Convert {number + 1} {word}", False),
        (f"from {number} to 7", f"from 7 to {number}", False),
        (f"version {number}.5", f"version {number} 5", False),
        (f"{word} in {number}", f"{word}", False),
        (f"Is {word} safe?", f"Is {word} not safe?", False),
        (f"I can't find {word}", f"I cannot find {word}", True),
        (f"I don’t like {word}", f"I like {word}", False),
        (f"Never without {word}", f"Not {word}", True),
        (f"Nothing but {word}", f"Only {word}", True),
        (f"NO {word}", f"{word}", False),
        (f"Do not add 2 {word}", f"Never add 2 {word}", True),
        (f"Do not add 2 {word}", f"Never add 3 {word}", False),
        (f"Is {word} notable?", f"Is {word} famous?", True),
    ]
    draw.shuffle(cases)
    for one, two, right in cases:
        for pair in ((one, two), (two, one)):
            said = may_share(*pair)
            demand(bool(said) == right, f"may_share{pair} is {said!r}; it has to be {right}")


@exercise_check("05-nearest")
def nearest(find: Callable[[Vector, Vector, float], int | None], draw: random.Random) -> None:
    """`nearest(vectors, vector, threshold)`: the row with the highest cosine, None where it is below the threshold."""
    source = np.random.default_rng(draw.randrange(2**32))
    for _ in range(30):
        rows, width = draw.randint(1, 40), draw.randint(3, 60)
        vector = source.normal(size=width)
        lengths = source.uniform(0.1, 50, size=(rows, 1))
        vectors = (vector * source.uniform(-0.5, 1, size=(rows, 1)) + source.normal(size=(rows, width))) * lengths
        scores = vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)
        best = int(scores.argmax())
        for threshold, right in ((scores[best] - 0.01, best), (scores[best] + 0.01, None)):
            said = find(vectors.copy(), vector.copy(), float(threshold))
            found = said is None if right is None else said is not None and int(said) == right
            demand(
                found,
                f"nearest of {rows} vectors at {threshold:.3f}: the best is row {best} with a cosine of "
                f"{scores[best]:.3f}, so {right} is right, not {said!r}",
            )


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(string.ascii_lowercase, k=draw.randint(4, 9)))
