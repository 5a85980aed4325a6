"""Laws: tests that grade whole services. `course prove` runs them, all or a sample; `make test` leaves them out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

ORDER = ("conforming", "staircase", "cheats", "mutants", "hostile")
"""Kinds of laws, those that work the processors hardest first: other workers begin with those that mostly wait."""


def add_options(parser: pytest.Parser) -> None:
    """Add the options that draw a sample."""
    parser.addoption("--sample", type=int, metavar="N", help="draw about N laws, from each kind its share")
    parser.addoption("--seed", default="0", metavar="S", help="what --sample draws by")
    parser.addoption("--only", default="", metavar="TEXT", help="of the laws, those whose names contain a text")


def kind_of(item: pytest.Item) -> str:
    """The kind of a law: what its file is named after."""
    return Path(item.path).stem.removeprefix("test_")


def draw(laws: Sequence[pytest.Item], number: int, seed: str) -> list[pytest.Item]:
    """Draw about so many laws, at least one of each kind; every worker draws the same."""
    drawn: list[pytest.Item] = []
    for kind in ORDER:
        alike = [item for item in laws if kind_of(item) == kind]
        share = min(len(alike), math.ceil(number * len(alike) / max(1, len(laws))))
        drawn += random.Random(f"{seed} {kind}").sample(alike, share)
    return drawn


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put laws in order, and leave out those that were not asked for or not drawn."""
    laws = [item for item in items if item.get_closest_marker("law")]
    drawn = [item for item in laws if config.getoption("--only") in item.name]
    number: int | None = config.getoption("--sample")
    if number is not None:
        drawn = draw(drawn, number, config.getoption("--seed"))
    wanted = set(drawn)
    config.hook.pytest_deselected(items=[item for item in laws if item not in wanted])
    others = [item for item in items if not item.get_closest_marker("law")]
    items[:] = others + sorted(drawn, key=lambda item: ORDER.index(kind_of(item)))
