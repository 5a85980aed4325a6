"""Mutants: single faults planted in the finished service, each with the checks that must catch it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from grader.course import ROOT

SOLUTION = ROOT / "solutions" / "service"


@dataclass(frozen=True)
class Mutant:
    """One fault: a plain sentence, one edit (``old`` occurs exactly once in ``file``), and the checks that catch it."""

    fault: str
    file: str
    old: str
    new: str
    caught_by: AbstractSet[Callable[..., None]]

    @property
    def name(self) -> str:
        """A short name for listings."""
        return re.sub(r"\W+", "-", self.fault.lower()).strip("-")[:60]

    @property
    def labs(self) -> list[int]:
        """The labs whose checks catch it."""
        found = {int(match[1]) for one in self.caught_by if (match := re.search(r"lab_(\d\d)_", one.__module__))}
        return sorted(found)

    @property
    def checks(self) -> set[str]:
        """The names of the checks that catch it, as a report writes them."""
        return {one.__name__.removeprefix("check_") for one in self.caught_by}

    def apply(self, folder: Path) -> None:
        """Plant the fault in a copy of the finished service. Raises ``ValueError`` when the edit does not fit."""
        path = folder / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.fault}: the text to replace occurs {text.count(self.old)} times in {self.file}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def all_mutants() -> list[Mutant]:
    """Return the mutants of all labs, in the order of labs and files."""
    found: list[Mutant] = []
    for path in sorted(Path(__file__).parent.glob("lab_*.py")):
        found += importlib.import_module(f"tests.mutants.{path.stem}").MUTANTS
    return found
