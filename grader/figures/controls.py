"""The controls of the pictures: what each may be set to, and how it is described to the front end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Value = float | int | str | bool | list[str] | list[float]


@dataclass(frozen=True)
class Slider:
    """A number: a labelled range input. With `stops`, the slider moves over exactly those values."""

    name: str
    label: str
    low: float
    high: float
    start: float
    step: float = 1
    unit: str = ""
    stops: tuple[float, ...] | None = None
    kind: str = "slider"

    def admit(self, value: object) -> Value:
        """Return the nearest value the slider can show; the starting value for anything that is no number."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            value = self.start
        if self.stops:
            return min(self.stops, key=lambda stop: abs(stop - value))
        steps = round((min(self.high, max(self.low, value)) - self.low) / self.step)
        number = round(self.low + steps * self.step, 6)
        return int(number) if float(self.step).is_integer() and float(self.low).is_integer() else number

    def some(self) -> list[Value]:
        """Return values over the whole range, a dozen or all stops."""
        even = self.stops or [self.low + (self.high - self.low) * i / 12 for i in range(13)]
        return list(dict.fromkeys(self.admit(value) for value in (*even, self.start)))


def stops(name: str, label: str, start: float, values: Sequence[float], unit: str = "") -> Slider:
    """Make a slider over a list of rising values, for scales that grow by factors."""
    return Slider(name, label, values[0], values[-1], start, unit=unit, stops=tuple(values))


@dataclass(frozen=True)
class Choice:
    """One of a few values: a row of radio buttons."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    start: str
    kind: str = "choice"

    def admit(self, value: object) -> Value:
        """Return the value if it is an option, else the starting one."""
        return value if isinstance(value, str) and value in dict(self.options) else self.start

    def some(self) -> list[Value]:
        """Return every option."""
        return list(dict(self.options))


@dataclass(frozen=True)
class Switch:
    """Yes or no: a check box."""

    name: str
    label: str
    start: bool
    kind: str = "switch"

    def admit(self, value: object) -> Value:
        """Return the value if it is a Boolean, else the starting one."""
        return value if isinstance(value, bool) else self.start

    def some(self) -> list[Value]:
        """Return no and yes."""
        return [False, True]


@dataclass(frozen=True)
class Text:
    """A few lines the reader may edit."""

    name: str
    label: str
    start: str
    rows: int = 3
    limit: int = 2000
    kind: str = "text"

    def admit(self, value: object) -> Value:
        """Return the text cut to its limit, or the starting one for anything else."""
        return value[: self.limit] if isinstance(value, str) else self.start

    def some(self) -> list[Value]:
        """Return the starting text only."""
        return [self.start]


@dataclass(frozen=True)
class Picks:
    """Things picked in the drawing itself, from a list of names; it has no control of its own."""

    name: str
    allowed: tuple[str, ...]
    start: tuple[str, ...] = ()
    kind: str = "picks"

    def admit(self, value: object) -> Value:
        """Return the names that may be picked, each once, in the order of the list."""
        return [name for name in self.allowed if name in (value if isinstance(value, (list, tuple)) else self.start)]

    def some(self) -> list[Value]:
        """Return nothing picked, and each name alone."""
        return [[], *([name] for name in self.allowed)]


@dataclass(frozen=True)
class Moments:
    """Points in time set by clicking in the drawing, seconds; it has no control of its own."""

    name: str
    high: float
    start: tuple[float, ...] = ()
    most: int = 200
    kind: str = "moments"

    def admit(self, value: object) -> Value:
        """Return the finite numbers in 0…high, sorted, at most `most` of them."""
        given = value if isinstance(value, (list, tuple)) else self.start
        numbers = [float(v) for v in given if isinstance(v, (int, float)) and math.isfinite(v)]
        return sorted(v for v in numbers if 0 <= v <= self.high)[: self.most]

    def some(self) -> list[Value]:
        """Return the starting moments only."""
        return [list(self.start)]


Control = Slider | Choice | Switch | Text | Picks | Moments
