"""Incident: one fault of the finished service or its surroundings, and the proof of its mend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from grader import starter
from grader.course import ROOT, Course
from grader.incidents.plan import PLAN, PRODUCTION
from grader.incidents.story import Story

if TYPE_CHECKING:
    from grader.incidents.production import Production

SOURCE = ROOT / "solutions" / "service"

Kind = Literal["code", "configuration", "dependency", "capacity"]


@dataclass(frozen=True)
class Edit:
    """A replacement in one file of a case; ``old`` occurs exactly once."""

    file: str
    old: str
    new: str

    def apply(self, folder: Path) -> None:
        """Write it. Raises ``ValueError`` when it does not fit."""
        path = folder / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has the text to replace {text.count(self.old)} times: {self.old[:60]!r}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True)
class Incident:
    """One incident; its words are in ``stories/NAME.toml``.

    ``edits`` plant the fault; ``versions`` names further copies of the service that a replica may run. ``disturb`` does
    to a production, in drill and proof, what the world did; ``live`` does what only a drill needs, and ``habits`` says
    how its visitors behave. ``prove`` sends traffic that meets the fault, counts, and raises ``Broken`` when the fault
    is still there; ``replay`` are settings for that which spare time and have no part in the fault.
    """

    name: str
    kind: Kind
    edits: tuple[Edit, ...]
    prove: Callable[[Production], None]
    disturb: Callable[[Production], None] | None = None
    live: Callable[[Production], None] | None = None
    versions: tuple[str, ...] = ()
    habits: Mapping[str, int] = field(default_factory=dict)
    replay: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def story(self) -> Story:
        """What the learner is told."""
        return Story.read(self.name)

    @property
    def promise(self) -> str:
        """What the proof proves: its docstring."""
        return " ".join((self.prove.__doc__ or "").split())

    def build(self, folder: Path) -> None:
        """Write the production with the fault into a folder."""
        labs = {lab.number for lab in Course().labs}
        for version in ("service", *self.versions):
            starter.render_tree(SOURCE, folder / version, labs)
        (folder / PLAN).write_text(PRODUCTION, encoding="utf-8")
        for edit in self.edits:
            edit.apply(folder)
