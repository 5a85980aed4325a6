"""What every picture shares: its controls, the widget that redraws it, its sentence where there is no front end.

A picture is a pure function from parameters to a `View`: the numbers to draw, the sentence that says what is seen and
the table behind it. Python computes, `js/<name>.js` only draws, so every number on the screen can be tested here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

FOLDER = Path(__file__).parent
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


Control = Slider | Choice | Switch | Text | Picks | Moments


@dataclass(frozen=True)
class Table:
    """The numbers behind a picture."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]


@dataclass(frozen=True)
class View:
    """What a picture shows: numbers for the drawing, one sentence (`**` marks what matters), one table."""

    scene: Mapping[str, Any]
    sentence: str
    table: Table


Params = Mapping[str, Any]
Model = Callable[[Params], View]


@cache
def script(*names: str) -> str:
    """Join JavaScript files into one module; the last one exports."""
    return "\n".join((FOLDER / "js" / f"{name}.js").read_text(encoding="utf-8") for name in names)


@cache
def style() -> str:
    """Return the style sheet of all pictures."""
    return (FOLDER / "theme.css").read_text(encoding="utf-8")


def plain(sentence: str) -> str:
    """Return a sentence without its marks, as it is printed where there is no front end."""
    return sentence.replace("**", "")


class Card(anywidget.AnyWidget):
    """A widget of the course: its look, and a stable text where there is no front end."""

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def words(self) -> str:
        """Say in plain text what the widget shows."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.words()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # noqa: ANN401 - the signature is the front end's
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            data["text/plain"] = self.words()
        return bundle


class Figure(Card):
    """A picture with controls. Set `params` from Python or by its controls; `view` follows."""

    title = traitlets.Unicode().tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)
    controls: traitlets.List[Any] = traitlets.List().tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    params = traitlets.Dict().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    drawn_by: ClassVar[str] = "frame"

    def __init__(  # noqa: PLR0917 - one call a picture, always in this order
        self, name: str, title: str, question: str, controls: Sequence[Control], model: Model, start: Params
    ) -> None:
        unknown = set(start) - {control.name for control in controls}
        if unknown:
            raise TypeError(f"{name} has no {', '.join(sorted(unknown))}; it has {', '.join(c.name for c in controls)}")
        self._model, self._parts = model, tuple(controls)
        begin = self.admitted(start)
        shown = [{k: v for k, v in asdict(control).items() if v is not None} for control in controls]
        super().__init__(
            _esm=script(self.drawn_by, name),
            _css=style(),
            title=title,
            question=question,
            controls=shown,
            start=begin,
            params=begin,
            view=asdict(model(begin)),
        )
        self.observe(self._follow, "params")

    def admitted(self, params: Params) -> dict[str, Value]:
        """Return the nearest parameters the controls allow; what is missing takes its starting value."""
        return {part.name: part.admit(params.get(part.name, part.start)) for part in self._parts}

    @traitlets.validate("params")
    def _admit(self, proposal: Mapping[str, Any]) -> dict[str, Value]:
        return self.admitted(proposal["value"])

    def _follow(self, change: Mapping[str, Any]) -> None:
        self.view = asdict(self._model(change["new"]))

    def words(self) -> str:
        """Return the title and the sentence below the picture."""
        return f"{self.title}: {plain(self.view['sentence'])}"
