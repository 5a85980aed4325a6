"""The course: its labs, found by the names of their check modules, and the paths that follow from a stem."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grader.declaration import Check, Lab

ROOT = Path(__file__).resolve().parent.parent
"""The repository's root: notebooks, labs and solutions lie beside the grader."""

CHECKS = Path(__file__).resolve().parent / "checks"


@dataclass(frozen=True)
class Chapter:
    """One section of the course, with whatever of it exists."""

    number: int
    slug: str
    module_path: Path

    @property
    def stem(self) -> str:
        """``04_rate_limiting``: every path of the lab follows from it."""
        return f"{self.number:02d}_{self.slug}"

    @cached_property
    def title(self) -> str:
        """The first line of the check module's docstring; read without importing it."""
        tree = ast.parse(self.module_path.read_text(encoding="utf-8"))
        return (ast.get_docstring(tree) or self.slug).splitlines()[0].rstrip(".")

    @property
    def brief(self) -> Path:
        """The lab's brief."""
        return ROOT / "labs" / f"{self.stem}.md"

    @property
    def notebook(self) -> Path:
        """The lab's notebook."""
        return ROOT / "notebooks" / f"{self.stem}.ipynb"

    @property
    def section(self) -> str:
        """Where to read on, relative to the root: the notebook, else the brief."""
        return str((self.notebook if self.notebook.exists() else self.brief).relative_to(ROOT))

    @cached_property
    def lab(self) -> Lab:
        """The lab that the check module declares."""
        found: Lab = importlib.import_module(f"grader.checks.{self.module_path.stem}").lab
        return found

    @cached_property
    def checks(self) -> list[Check]:
        """The lab's checks in file order."""
        from grader.declaration import declared_in  # noqa: PLC0415  # the list of labs must not pay for it

        return declared_in(importlib.import_module(f"grader.checks.{self.module_path.stem}"))


class Course:
    """All labs that are built."""

    def __init__(self, checks: Path = CHECKS) -> None:
        found = [
            Chapter(int(match[1]), match[2], path)
            for path in sorted(checks.glob("lab_*.py"))
            if (match := re.fullmatch(r"lab_(\d\d)_(\w+)", path.stem))
        ]
        self.labs = tuple(found)

    def lab(self, number: int) -> Chapter:
        """Return a lab by its number. Raises ``KeyError``."""
        for one in self.labs:
            if one.number == number:
                return one
        raise KeyError(number)
