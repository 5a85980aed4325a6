"""Exercises inside a notebook: `exercise("04-window", allow)` says todo, passed, or failed and for which input.

What is asked of each stands in `grader/notebook/exercises/nb_NN.py`: functions of one value, decorated with
`exercise_check`. They run in the kernel, so they are pure and quick; whatever a learner's function does there is the
learner's own affair, as in any cell.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import random
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from grader.formats.element import Child, element
from grader.notebook import cards

Asked = Callable[[Any, random.Random], None]

_asked: dict[str, Asked] = {}

STATES = {"todo": ("wait", "○ todo"), "passed": ("good", "✓ passed"), "failed": ("bad", "✗ failed")}


class _Todo:
    """Stands where the learner's work goes."""

    def __repr__(self) -> str:
        return "TODO"


TODO = _Todo()


class Unfinished(Exception):  # noqa: N818 - it is no error, there is just nothing to judge yet
    """The value still holds `...` or `TODO`."""


class WrongError(AssertionError):
    """The value is not what was asked for; the text says what, and for which input."""


@dataclass(repr=False)
class Verdict(cards.Card):
    """What `exercise` found: `state` is todo, passed or failed."""

    name: str
    state: str
    why: str = ""
    label = "exercise"

    def words(self) -> str:
        """Return the state, and what is wrong."""
        return f"{self.state}: {self.why}" if self.why else self.state

    def body(self) -> Iterable[Child]:
        """Give the state as a badge, and what is wrong."""
        kind, badge = STATES[self.state]
        marked = element("span", badge, class_=f"cw-badge {kind}")
        yield element("p", marked, element("span", f"exercise {self.name}", class_="cw-soft"), class_="cw-head")
        if self.why:
            yield element("p", self.why)


def exercise_check(name: str) -> Callable[[Asked], Asked]:
    """Register what an exercise asks: a function of the value and a source of random inputs; it raises."""

    def register(function: Asked) -> Asked:
        _asked[name] = function
        return function

    return register


def exercise(name: str, value: object = TODO) -> Verdict:
    """Judge a value; never raises, but for a name that no notebook has."""
    asked = _find(name)
    if unfinished(value):
        return Verdict(name, "todo", "replace the … in the cell above, run it, then run this cell again")
    seed = int(os.environ.get("COURSE_SEED") or random.randrange(1_000_000))
    try:
        asked(watched(value), random.Random(seed))
    except Unfinished:
        return Verdict(name, "todo", "replace the … in the cell above, run it, then run this cell again")
    except WrongError as problem:
        return Verdict(name, "failed", f"{problem} (seed {seed})")
    except Exception as problem:  # noqa: BLE001 - whatever a learner's function raises is a finding
        return Verdict(name, "failed", f"{type(problem).__name__}: {problem}{_place(problem)} (seed {seed})")
    return Verdict(name, "passed")


def demand(holds: object, otherwise: str) -> None:
    """Raise ``WrongError`` with the sentence unless the condition holds."""
    if not holds:
        raise WrongError(otherwise)


def _find(name: str) -> Asked:
    number = name.partition("-")[0]
    try:
        importlib.import_module(f"grader.notebook.exercises.nb_{number}")
    except ModuleNotFoundError as problem:
        raise KeyError(f"there is no exercise {name!r}") from problem
    if name not in _asked:
        known = ", ".join(sorted(each for each in _asked if each.startswith(f"{number}-")))
        raise KeyError(f"there is no exercise {name!r}; notebook {number} has {known}")
    return _asked[name]


def watched(value: Any) -> Any:  # noqa: ANN401 - anything a cell can hold
    """Give a function that raises ``Unfinished`` where the learner's returns `...` or `TODO`; other values as is."""
    if not inspect.isfunction(value):
        return value

    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as above
        try:
            result = value(*args, **kwargs)
        except NotImplementedError:
            raise Unfinished from None
        if result is TODO or result is ...:
            raise Unfinished
        return result

    return call


def unfinished(value: object) -> bool:
    """Tell whether a value is `...` or `TODO`, holds one, or is a function or class whose source does."""
    if value is TODO or value is ...:
        return True
    if isinstance(value, list | tuple | set):
        return any(unfinished(each) for each in value)
    if isinstance(value, dict):
        return any(unfinished(each) for each in value.values())
    if inspect.isclass(value):
        return any(unfinished(each) for each in vars(value).values() if inspect.isfunction(each))
    return inspect.isfunction(value) and _open(value)


def _open(function: Callable[..., Any]) -> bool:
    code = function.__code__
    if "TODO" in code.co_names or ... in code.co_consts or code.co_code == _nothing.__code__.co_code:
        return True
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    return any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(tree))


def _nothing() -> None: ...


def _place(problem: Exception) -> str:
    """Name the line of the learner's cell that raised."""
    trace, line = problem.__traceback__, 0
    while trace:
        if "ipykernel_" in trace.tb_frame.f_code.co_filename or "<ipython" in trace.tb_frame.f_code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", in line {line} of your cell" if line else ""
