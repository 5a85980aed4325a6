"""What a variant is."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

PIECES = Path(__file__).with_name("pieces")


@dataclass(frozen=True)
class Variant:
    """A choice that the contract leaves open, made in the finished service.

    First modules of `pieces` are put into its package, then texts are replaced, each of which occurs exactly once,
    then words everywhere. No labs mean all labs.
    """

    choice: str
    edits: tuple[tuple[str, str, str], ...] = ()
    pieces: tuple[str, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    labs: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """A short name for listings."""
        labs = "".join(f"lab{lab:02d}-" for lab in self.labs)
        return labs + re.sub(r"\W+", "-", self.choice.lower()).strip("-")

    def apply(self, folder: Path) -> None:
        """Make the edits. Raises ``ValueError`` when one does not fit."""
        for piece in self.pieces:
            shutil.copy(PIECES / piece, folder / "app")
        for file, old, new in self.edits:
            path = folder / file
            text = path.read_text(encoding="utf-8")
            if text.count(old) != 1:
                raise ValueError(f"{self.choice}: the text to replace occurs {text.count(old)} times in {file}")
            path.write_text(text.replace(old, new), encoding="utf-8")
        for old, new in self.words:
            self._replace_everywhere(folder, old, new)
        for old, new in self.renamed:
            (folder / old).rename(folder / new)

    def _replace_everywhere(self, folder: Path, old: str, new: str) -> None:
        found = 0
        for path in (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            text = path.read_text(encoding="utf-8")
            found += text.count(old)
            path.write_text(text.replace(old, new), encoding="utf-8")
        if not found:
            raise ValueError(f"{self.choice}: {old!r} is nowhere")
