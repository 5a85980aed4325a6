"""Cards: what cells show, as HTML in the theme's colours and as plain text that is the same in every run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.formats.element import Child, element, markup
from grader.formats.visible import visible

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LONGEST = 4000
"""Characters of a text that a card shows."""


class Card:
    """Something that a cell shows: `words` without a front end, `body` in one."""

    label = "result"

    def words(self) -> str:
        """Say it in plain text, without ports, times and whatever else differs from run to run."""
        raise NotImplementedError

    def body(self) -> Iterable[Child]:
        """Give the card's content."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.words()

    def _repr_html_(self) -> str:
        card = element("div", self.body(), class_="cw", role="region", aria_label=self.label)
        return markup(element("div", element("style", style()), card))


@cache
def style() -> str:
    """Return the style sheet of all cards."""
    return Path(__file__).with_name("cards.css").read_text(encoding="utf-8")


class Note(Card):
    """A sentence or two; `good` and `bad` ones carry a mark."""

    label = "note"

    def __init__(self, text: str, *details: str, state: str = "", folded: Sequence[str] = ()) -> None:
        self.text, self.details, self.state, self.folded = text, details, state, folded

    def words(self) -> str:
        """Return all of it, what is folded away included."""
        return "\n".join([self.text, *self.details, *(f"  {line}" for line in self.folded)])

    def body(self) -> Iterable[Child]:
        """Give the sentences, then what is folded away."""
        yield element("p", element("strong", visible(self.text)), class_=f"cw-head {self.state}".strip())
        yield from (element("p", visible(line)) for line in self.details)
        if self.folded:
            yield folded("What it last said", pre("\n".join(self.folded)), unfold=self.state == "bad")


class Rows(Card):
    """A table with a headline."""

    label = "table"

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], foot: str = "") -> None:
        self.title, self.columns, self.rows, self.foot = title, columns, rows, foot

    def words(self) -> str:
        """Return the table in columns."""
        lines = [self.columns, *([str(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([self.title, *table, *filter(None, [self.foot])])

    def body(self) -> Iterable[Child]:
        """Give the headline and the table."""
        yield element("p", element("strong", self.title), class_="cw-head")
        yield grid(self.columns, self.rows)
        if self.foot:
            yield element("p", self.foot, class_="cw-soft")


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Element:
    """Build a table; numbers stand right."""
    head = element("tr", (element("th", name, scope="col") for name in columns))
    return element(
        "div",
        element("table", element("thead", head), element("tbody", (_row(row) for row in rows))),
        class_="cw-wide",
    )


def _row(row: Sequence[object]) -> Element:
    cells = ((visible(str(cell)), "cw-number" if isinstance(cell, int | float) else None) for cell in row)
    return element("tr", (element("td", text, class_=kind) for text, kind in cells))


def pre(text: str, kind: str | None = None) -> Element:
    """Build a block of code that can be reached by keyboard when it scrolls."""
    return element("pre", visible(shortened(text)), class_=kind, tabindex=0)


def folded(title: str, content: Child, *, unfold: bool = False) -> Element:
    """Build something that opens by a click."""
    return element("details", element("summary", title), content, open=unfold)


def shortened(text: str, limit: int = LONGEST) -> str:
    """Cut a long text and say so."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def pretty(body: Any) -> str:  # noqa: ANN401 - JSON can be anything
    """Write JSON as people read it: short on one line, long on many."""
    line = json.dumps(body, ensure_ascii=False)
    return line if len(line) <= 90 else json.dumps(body, ensure_ascii=False, indent=2)


def headers_text(headers: Mapping[str, str]) -> str:
    """Write headers one on a line."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items())
