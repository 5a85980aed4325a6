"""Pictures for readers without a kernel: a fragment of HTML that needs no server, no network and no Jupyter.

What Python would compute is computed beforehand for every control, one at a time. Notebooks that are executed with
`COURSE_BOOK=1` in the environment store such fragments instead of widgets.
"""

from __future__ import annotations

import json
from html import escape
from itertools import count
from typing import Any

from grader.figures.theme import Card, script

_serial = count(1)


def quoted(data: object) -> str:
    """Return JSON that may stand inside a script element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")


def state_of(card: Card) -> dict[str, Any]:
    """Return what the front end knows of a widget, without its scripts and Jupyter's own names."""
    plumbing = {"layout", "tabbable", "tooltip"}
    return {
        name: getattr(card, name) for name in sorted(card.keys) if not name.startswith("_") and name not in plumbing
    }


def page(card: Card) -> str:
    """Return a widget as a fragment of HTML with its own style and script, and its sentence where scripts are off."""
    name = f"picture-{next(_serial)}"
    module = str(card._esm).replace("\nexport default ", "\nconst shown = ", 1)  # noqa: SLF001 - anywidget's name for it
    note = "No kernel here: one control moves at a time, the others fall back to where they began."
    return (
        f"<style>{card._css}</style>"  # noqa: SLF001 - anywidget's name for it
        f'<div id="{name}"><p>{escape(card.words())}</p></div>'
        f'<p class="fg-page-note">{note}</p>'
        f'<script type="module">{module}\n{script("page")}\n'
        f'still("{name}", shown, {quoted(state_of(card))}, {quoted(card.alternatives())});</script>'
    )
