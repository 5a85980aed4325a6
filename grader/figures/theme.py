"""What every picture shares: its controls, the widget that redraws it, its sentence where there is no front end.

A picture is a pure function from parameters to a `View`: the numbers to draw, the sentence that says what is seen and
the table behind it. Python computes, `js/<name>.js` only draws, so every number on the screen can be tested here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from grader.figures.controls import Control, Value

FOLDER = Path(__file__).parent


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


def counted(number: float, word: str) -> str:
    """Return a number with its noun: `1 call`, `2 calls`."""
    return f"{number:g} {word}{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """Return a short time as it is read aloud: `2 ms`, `3.98 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


class Card(anywidget.AnyWidget):
    """A widget of the course: its look, and a stable text where there is no front end."""

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def words(self) -> str:
        """Say in plain text what the widget shows."""
        raise NotImplementedError

    def alternatives(self) -> dict[str, list[tuple[Value, dict[str, Any]]]]:
        """Return what the widget would show for other values, one at a time: for pages without a kernel."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.words()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:  # noqa: ANN401 - the signature is the front end's
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is None:
            return bundle
        data["text/plain"] = self.words()
        if os.environ.get("COURSE_BOOK"):
            data.pop("application/vnd.jupyter.widget-view+json", None)
            data["text/html"] = import_module("grader.figures.page").page(self)
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

    def alternatives(self) -> dict[str, list[tuple[Value, dict[str, Any]]]]:
        """Return the view for the values each control can take while the others stand where they began."""
        return {
            part.name: [(value, asdict(self._model(self.start | {part.name: value}))) for value in part.some()]
            for part in self._parts
        }

    def words(self) -> str:
        """Return the title and the sentence below the picture."""
        return f"{self.title}: {plain(self.view['sentence'])}"
