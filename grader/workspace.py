"""Workspace: where the course lies, found from any folder inside it."""

from __future__ import annotations

import os
from pathlib import Path

SERVICE = Path("labs/service")
"""The learner's service, seen from the root."""


def root() -> Path:
    """Find the root: the nearest folder upwards that holds the learner's service, else the grader's own."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SERVICE).is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


def home() -> Path:
    """Find the folder in which the course remembers things: `$COURSE_HOME`, else `.course` in the root."""
    named = os.environ.get("COURSE_HOME")
    return Path(named).expanduser() if named else root() / ".course"


def service() -> Path:
    """Find the service to grade when none is named: `$COURSE_SERVICE`, else the learner's."""
    named = Path(os.environ.get("COURSE_SERVICE") or SERVICE).expanduser()
    return named if named.is_absolute() or (named.is_dir() and named != SERVICE) else root() / named


def short(path: Path) -> str:
    """Write the path as one would type it: relative where it lies below the current folder."""
    inside = path.resolve().is_relative_to(Path.cwd()) and path.resolve() != Path.cwd()
    return str(path.resolve().relative_to(Path.cwd()) if inside else path)
