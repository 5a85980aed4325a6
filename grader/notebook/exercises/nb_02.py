"""Exercises of notebook 02, APIs."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from grader.notebook.judge import Unfinished, WrongError, demand, exercise_check

LETTERS = "abcdefghjkmnpqrstuvwxyz"

Ask = Callable[[str], Awaitable[str]]
RunBatch = Callable[[list[str], Ask, int], Awaitable[list[str | None]]]


def _word(draw: random.Random, length: int = 8) -> str:
    return "".join(draw.choices(LETTERS, k=length))


@exercise_check("02-request")
def request(parts: tuple[Any, Any, Any], draw: random.Random) -> None:
    """Message, temperature and config make a request model that refuses nonsense."""
    from pydantic import ValidationError, create_model  # noqa: PLC0415 - the learner's cell has imported it

    message, temperature, config = parts
    model: Any = create_model("ChatRequest", __config__=config, message=(message, ...), temperature=(temperature, 0.7))

    def understood(body: str) -> Any:  # noqa: ANN401 - what the learner's model makes of it
        try:
            return model.model_validate_json(body)
        except ValidationError:
            return None

    text = _word(draw)
    for sent, given in ((0, 0.0), (2, 2.0), (0.5, 0.5), (1, 1.0)):
        good = understood(json.dumps({"message": f" \t{text}\r\n ", "temperature": sent}))
        demand(good is not None, f"temperature {sent} and a message of 8 letters were refused")
        demand(good.message == text, f"the message was understood as {good.message!r}; trimmed it is {text!r}")
        demand(good.temperature == given, f"temperature {sent} was understood as {good.temperature!r}")
    demand(understood(json.dumps({"message": text})) is not None, "a request without a temperature was refused")
    long = text[0] * 4000
    demand(understood(json.dumps({"message": f"  {long}  "})) is not None, "4000 characters, and blanks, were refused")
    for body, why in _nonsense(draw, text):
        demand(understood(body) is None, f"{body[:60]}{'…' * (len(body) > 60)} got through: {why}")


def _nonsense(draw: random.Random, text: str) -> list[tuple[str, str]]:
    odd = _word(draw)
    return [
        (json.dumps({"message": draw.choice(("", " ", "\t\n "))}), "nothing is left after trimming"),
        (json.dumps({"message": "x" * 4001}), "4001 characters"),
        (json.dumps({"message": draw.randint(1, 99)}), "a number is no text"),
        (json.dumps({"message": text, odd: 1}), f"there is no field {odd}"),
        (json.dumps({"message": text, "temp": 0}), "there is no field temp"),
        (json.dumps({"message": text, "temperature": "1"}), "text is no number"),
        (json.dumps({"message": text, "temperature": True}), "true is no number"),
        (json.dumps({"message": text, "temperature": round(draw.uniform(2.01, 9), 2)}), "above 2"),
        (json.dumps({"message": text, "temperature": -round(draw.uniform(0.01, 9), 2)}), "below 0"),
        (f'{{"message": "{text}", "temperature": NaN}}', "NaN is no temperature"),
        (f'{{"message": "{text}", "temperature": Infinity}}', "infinity is no temperature"),
    ]


@exercise_check("02-problems")
def problems(presentable: Callable[[Sequence[dict[str, Any]]], Any], draw: random.Random) -> None:
    """`presentable(errors)`: what is wrong and where, and nothing of what was sent."""
    from pydantic import BaseModel, ConfigDict, ValidationError, create_model  # noqa: PLC0415 - as above

    demand(presentable([]) == [], "without errors the list is empty")
    for _ in range(10):
        field, secret = f"field_{_word(draw, 4)}", f"secret_{_word(draw, 14)}"
        model: type[BaseModel] = create_model("Body", __config__=ConfigDict(extra="forbid"), **{field: (int, ...)})  # type: ignore[call-overload]
        value = draw.choice((secret, [secret], {"password": secret}))
        try:
            model.model_validate({field: value})
        except ValidationError as error:
            errors: list[dict[str, Any]] = [dict(each, loc=("body", *each["loc"])) for each in error.errors()]
        said = presentable(errors)
        demand(isinstance(said, list) and len(said) == len(errors), f"{len(errors)} error(s) in, {said!r} out")
        text = json.dumps(said, default=repr)
        demand(secret not in text, f"what was sent, {value!r}, stands in the answer: {text[:160]}")
        demand(
            all(set(each) == {"loc", "msg"} for each in said), f"each has loc and msg and nothing else: {text[:160]}"
        )
        for each, error_ in zip(said, errors, strict=True):
            demand(list(each["loc"]) == list(error_["loc"]), f"loc is {list(error_['loc'])}, not {each['loc']!r}")
            demand(each["msg"] == error_["msg"], f"msg is {error_['msg']!r}, not {each['msg']!r}")


@exercise_check("02-event")
def event(event_: Callable[[str, dict[str, Any]], str], draw: random.Random) -> None:
    """`event(name, data)`: one server-sent event that any parser reads back."""
    for odd in ("a\n\nparagraph", "two\nlines", "plain", "\r\n", 'a "quote"', "event: done", "naïve ☃", "\\n"):
        name, data = draw.choice(("token", "done", "error")), {"text": f"{_word(draw)}{odd}{_word(draw)}"}
        said = event_(name, data)
        demand(isinstance(said, str), f"event({name!r}, …) has to be a text, not {said!r}")
        demand(said.endswith("\n\n"), f"{said!r}: an event ends with an empty line")
        read = _parsed(said)
        demand(len(read) == 1, f"for {data} a browser reads {len(read)} events instead of one: {said!r}")
        demand(read[0][0] == name, f"{said!r}: the event's name is {name!r}")
        try:
            back = json.loads(read[0][1])
        except ValueError:
            back = None
        demand(back == data, f"from {data} a browser reads the data {read[0][1]!r}, which is not its JSON")


def _parsed(stream: str) -> list[tuple[str, str]]:
    """Read a stream as WHATWG HTML, section 9.2.6, says: CR, LF and CRLF end lines."""
    events, name, data = [], "", list[str]()
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))
        elif not line and (name or data):
            events.append((name, "\n".join(data)))
            name, data = "", []
    return events


@exercise_check("02-batch")
def batch(run_batch: RunBatch, draw: random.Random) -> None:
    """`run_batch(items, ask, at_once)`: bounded, in order, and one failure is one None."""
    with ThreadPoolExecutor(1) as thread:  # the kernel's own loop is busy with this cell
        for _ in range(4):
            items = [_word(draw) for _ in range(draw.randint(9, 20))]
            bad, at_once = set(draw.sample(items, 3)), draw.randint(2, 6)
            thread.submit(asyncio.run, _judged(run_batch, items, bad, at_once, draw.random())).result(timeout=20)
        thread.submit(asyncio.run, _judged(run_batch, [], set(), 3, 0.5)).result(timeout=20)


async def _judged(run_batch: RunBatch, items: list[str], bad: set[str], at_once: int, seed: float) -> None:
    draw, inside, most = random.Random(seed), 0, 0

    async def ask(item: str) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            await asyncio.sleep(draw.uniform(0.001, 0.006))
            if item in bad:
                raise RuntimeError("the model gave no answer")
            return item.upper()
        finally:
            inside -= 1

    try:
        said: Any = await asyncio.wait_for(run_batch(list(items), ask, at_once), 5)
    except RuntimeError:
        raise WrongError(f"one item of {len(items)} failed, and the whole batch with it") from None
    except TimeoutError:
        raise WrongError(f"a batch of {len(items)} items with at_once={at_once} never ended") from None
    if said is ...:
        raise Unfinished
    right = [None if item in bad else item.upper() for item in items]
    demand(most <= at_once, f"{most} calls were in flight; at_once was {at_once}")
    demand(most == min(at_once, len(items)), f"never more than {most} calls in flight; {at_once} were allowed")
    demand(list(said) == right, f"the results are {said!r}; in order, with None for what failed, they are {right!r}")
