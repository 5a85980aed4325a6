"""Story: what an incident says to the learner, from a file of ``stories/``."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

STORIES = Path(__file__).with_name("stories")


@dataclass(frozen=True)
class Cause:
    """Something that could explain the page, and the evidence that speaks for it or against it."""

    what: str
    evidence: str


@dataclass(frozen=True)
class Story:
    """The words of one incident.

    ``page`` is what on-call reads; ``{began}`` and ``{now}`` in it become times of day. ``symptom`` is for the
    postmortem. ``tools`` are those of ``course incident`` in whose output the fault can be seen. Of ``causes``, by
    name, ``cause`` is the true one.
    """

    title: str
    page: str
    symptom: str
    tools: tuple[str, ...]
    cause: str
    causes: dict[str, Cause]
    hints: tuple[str, ...]
    mend: str

    @classmethod
    def read(cls, name: str) -> Story:
        """Read the story of an incident."""
        told = tomllib.loads((STORIES / f"{name}.toml").read_text(encoding="utf-8"))
        told["causes"] = {each: Cause(**cause) for each, cause in told["causes"].items()}
        return cls(**{**told, "tools": tuple(told["tools"]), "hints": tuple(told["hints"])})

    def shuffled(self) -> list[str]:
        """The names of the causes in an order that gives nothing away and stays the same."""
        names = sorted(self.causes)
        random.Random(self.title).shuffle(names)
        return names

    @property
    def true(self) -> Cause:
        """The true cause."""
        return self.causes[self.cause]
