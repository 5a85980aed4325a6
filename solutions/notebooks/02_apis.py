# CELL exercise-02-request
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

Message = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
config = ConfigDict(strict=True, extra="forbid")


# WRONG exercise-02-request
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

Message = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Temperature = Annotated[float, Field(ge=0, le=2)]
config = ConfigDict(extra="forbid")


# CELL exercise-02-problems
def presentable(errors):
    """Return [{"loc": [...], "msg": "..."}, ...] for the answer; nothing of what the caller sent."""
    return [{"loc": list(error["loc"]), "msg": error["msg"]} for error in errors]


# WRONG exercise-02-problems
def presentable(errors):
    """Hide what is called a password and forget that it can stand anywhere."""
    return [{"loc": list(error["loc"]), "msg": f"{error['msg']}, not {error['input']}"} for error in errors]


# CELL exercise-02-event
import json


def event(name, data):
    """Return one server-sent event: `name` as it is, `data` (a dictionary) as JSON on one line."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


# WRONG exercise-02-event
def event(name, data):
    """Write the text itself, newlines and all."""
    return f"event: {name}\ndata: {data['text']}\n\n"


# CELL exercise-02-batch
import asyncio


async def run_batch(items, ask, at_once):
    """Return [await ask(item) or, where it failed, None] in order, with at most `at_once` calls in flight."""
    door = asyncio.Semaphore(at_once)

    async def result(item):
        async with door:
            try:
                return await ask(item)
            except Exception:
                return None

    return await asyncio.gather(*map(result, items))


# WRONG exercise-02-batch
import asyncio


async def run_batch(items, ask, at_once):
    """Lose nothing, but ask for everything at once."""
    answers = await asyncio.gather(*map(ask, items), return_exceptions=True)
    return [None if isinstance(answer, Exception) else answer for answer in answers]
