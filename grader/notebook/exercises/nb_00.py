"""Exercises of notebook 00, the tools."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from grader.notebook.judge import demand, exercise_check


@exercise_check("00-price")
def price(value: Callable[[int, int, float, float], float], draw: random.Random) -> None:
    """`price(tokens_in, tokens_out, price_in, price_out)`: dollars of one call, prices being per million tokens."""
    for _ in range(20):
        told = (
            draw.randint(0, 5000),
            draw.randint(0, 2000),
            draw.choice((0.1, 0.5, 5.0)),
            draw.choice((0.4, 2.0, 15.0)),
        )
        right = (told[0] * told[2] + told[1] * told[3]) / 1_000_000
        said = value(*told)
        demand(isinstance(said, int | float), f"price{told} has to be a number, not {said!r}")
        demand(math.isclose(said, right, abs_tol=1e-12), f"price{told} is ${right:.6f}, not {said}")


@exercise_check("00-whose")
def whose(value: Callable[[int], str], draw: random.Random) -> None:
    """`whose(status)`: nobody, caller or service."""
    for status in [200, 201, 204, 304, 400, 401, 404, 422, 429, 499, 500, 503, draw.randint(200, 599)]:
        right = "nobody" if status < 400 else "caller" if status < 500 else "service"
        said = value(status)
        demand(said == right, f"whose({status}) is {right!r}, not {said!r}")
