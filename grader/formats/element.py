"""Element: HTML and SVG built as trees, so that no text in them can become markup."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable

Child = ET.Element | str | None


def element(tag: str, *children: Child | Iterable[Child], **attributes: object) -> ET.Element:
    """Build an element.

    Children that are None are left out, and so are attributes that are None or False; True writes the bare name.
    Underscores in names become hyphens, a trailing one is dropped: `class_`, `stroke_width`.
    """
    made = ET.Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            made.set(name.rstrip("_").replace("_", "-"), "" if value is True else str(value))
    for child in children:
        _add(made, child)
    return made


def markup(made: ET.Element) -> str:
    """Write the element as HTML."""
    return ET.tostring(made, encoding="unicode", method="html")


def _add(parent: ET.Element, child: Child | Iterable[Child]) -> None:
    if child is None:
        return
    if isinstance(child, ET.Element):
        parent.append(child)
    elif isinstance(child, str):
        _add_text(parent, child)
    else:
        for each in child:
            _add(parent, each)


def _add_text(parent: ET.Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text
