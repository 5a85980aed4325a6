"""Case: the learner's folder of one incident, and the journal of what was done about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader import workspace

if TYPE_CHECKING:
    from grader.incidents.incident import Incident

CASES = Path("labs/incidents")
"""Where learners find the productions to mend, seen from the root."""

FOUND_POINTS, GUESS_COSTS, MENDED_POINTS = 4, 1, 6
"""The right cause, what each wrong one before takes off (1 is left), and the mend."""


@dataclass(frozen=True)
class Event:
    """Something that happened, at a time in UTC."""

    at: datetime
    what: str
    detail: str = ""


class Case:
    """One incident as this learner meets it."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self.folder = workspace.root() / CASES / incident.name
        self._journal = workspace.home() / "incidents" / f"{incident.name}.jsonl"

    @property
    def is_laid_out(self) -> bool:
        """Whether the folder is there."""
        return (self.folder / "service").is_dir()

    def lay_out(self) -> None:
        """Write the production with the fault, where the learner has none yet; logs stand beside it."""
        if not self.is_laid_out:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.incident.build(self.folder)
        (self.folder / "logs").mkdir(exist_ok=True)

    def set_aside(self) -> Path | None:
        """Give the folder another name, so that the next start begins anew; return where it is now."""
        if not self.folder.exists():
            return None
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}-{number}")).exists():
            number += 1
        return self.folder.rename(aside)

    def note(self, what: str, detail: str = "") -> None:
        """Write down that something happened now."""
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "what": what, "detail": detail}
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def events(self) -> list[Event]:
        """All that happened, oldest first."""
        return [Event(datetime.fromisoformat(each["at"]), each["what"], each["detail"]) for each in self._records()]

    def _records(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self._journal.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:  # half a line, from a machine that went down
                continue

    def details(self, what: str) -> list[str]:
        """The details of all events of one kind."""
        return [event.detail for event in self.events() if event.what == what]

    @property
    def hints(self) -> int:
        """How many hints were shown."""
        return len(self.details("hint"))

    @property
    def found(self) -> bool:
        """Whether the cause was named."""
        return bool(self.details("found"))

    @property
    def mended(self) -> bool:
        """Whether a proof has passed."""
        return bool(self.details("mended"))

    @property
    def points(self) -> int:
        """What finding and mending have earned, of ten."""
        wrong = len(set(self.details("wrong guess")))
        earned = max(1, FOUND_POINTS - GUESS_COSTS * wrong) if self.found else 0
        return earned + (MENDED_POINTS if self.mended else 0)

    @property
    def seconds_to_evidence(self) -> float | None:
        """Seconds from the first page to the first look with a tool that shows this fault; shown, never scored."""
        started: datetime | None = None
        for event in self.events():
            if event.what == "started":
                started = started or event.at
            elif event.what == "looked" and started and event.detail.partition(" ")[0] in self.incident.story.tools:
                return (event.at - started).total_seconds()
        return None
