"""Solutions and wrong attempts of the notebooks' exercises, put into cells by their ids and never into files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grader.course import ROOT

SOLUTIONS = ROOT / "solutions" / "notebooks"

_BLOCK = re.compile(r"^# (CELL|WRONG) (\S+)\n(.*?)(?=^# (?:CELL|WRONG) |\Z)", re.MULTILINE | re.DOTALL)
_KINDS = {"solved": "CELL", "wrong": "WRONG"}

VERDICTS = {"todo": "todo", "solved": "passed", "wrong": "failed"}
"""State of the exercises → what every check cell has to say."""


def sources(stem: str, state: str) -> dict[str, str]:
    """Give the sources by cell id for a notebook: none for the learner's state, `todo`."""
    path = SOLUTIONS / f"{stem}.py"
    if state == "todo" or not path.exists():
        return {}
    found = _BLOCK.findall(path.read_text(encoding="utf-8"))
    return {name: body.strip("\n") for kind, name, body in found if kind == _KINDS[state]}


def cells(path: Path) -> list[dict[str, Any]]:
    """Read a notebook's cells, each source as one string."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in found:
        cell["source"] = "".join(cell["source"])
    return found


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Give the tags of a cell."""
    return list(cell["metadata"].get("tags", ()))
