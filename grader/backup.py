"""Backup: what a command is about to replace in the learner's service is kept first, in a folder that it names."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Change:
    """What was written, and where the learner's versions of it are kept (None when there were none)."""

    written: tuple[Path, ...]
    backup: Path | None


def bring(service: Path, source: Path, paths: Iterable[Path], backups: Path) -> Change:
    """Make `paths` of a service read as they do in `source`, keeping a copy of each file that this replaces.

    Paths are relative to both folders. Files that are the same already are left alone.
    """
    written = tuple(path for path in paths if not _same(service / path, source / path))
    replaced = [path for path in written if (service / path).is_file()]
    backup = _new_folder(backups) if replaced else None
    if backup:
        for path in replaced:
            _copy(service / path, backup / path)
    for path in written:
        (service / path).unlink(missing_ok=True)  # a link is replaced, not written through
        _copy(source / path, service / path)
    return Change(written, backup)


def remove(service: Path, paths: Iterable[Path], backups: Path) -> Change:
    """Take files out of a service, into a backup."""
    gone = tuple(path for path in paths if (service / path).is_file())
    backup = _new_folder(backups) if gone else None
    if backup:
        for path in gone:
            _copy(service / path, backup / path)
            (service / path).unlink()
    return Change(gone, backup)


def kept(backups: Path) -> list[Path]:
    """Return all backups, the latest first."""
    return sorted((path for path in backups.glob("*") if path.is_dir()), reverse=True)


def files_in(backup: Path) -> list[Path]:
    """Return the relative paths of what a backup holds."""
    return sorted(path.relative_to(backup) for path in backup.rglob("*") if path.is_file())


def _same(mine: Path, wanted: Path) -> bool:
    return (
        mine.is_file()
        and not mine.is_symlink()
        and mine.read_bytes() == wanted.read_bytes()
        and mine.stat().st_mode == wanted.stat().st_mode
    )


def _copy(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(origin, target)


def _new_folder(backups: Path) -> Path:
    """Make a folder named by the local time; a second one in the same second gets a number that sorts behind."""
    name = datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")
    taken = len(list(backups.glob(f"{name}*")))
    folder = backups / (f"{name}-{taken + 1:02d}" if taken else name)
    folder.mkdir(parents=True)
    return folder
