"""Rules: the scripts that save the database and bring it back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment.rule import Spot, rule

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

KIND = "scripts"
SCRIPTS = ("scripts/backup", "scripts/restore")


@rule(
    "script-missing",
    KIND,
    why="A backup that nobody can make, or put back, is none; the hour of need is the wrong time to write it.",
    mend="Write scripts/backup FILE and scripts/restore FILE; DATABASE_URL comes from the environment.",
)
def script_missing(tree: Tree) -> Iterator[Spot]:
    """There are scripts/backup and scripts/restore."""
    for name in SCRIPTS:
        if not (tree.text(name) or "").strip() and not (tree.root / name).is_file():
            yield Spot(name, None, "The script is not there.")


@rule(
    "script-not-executable",
    KIND,
    why="It cannot be started by its name, as a timer or a colleague would.",
    mend="`chmod +x scripts/*` (git keeps the bit), and an interpreter in the first line: `#!/usr/bin/env python3`.",
)
def script_not_executable(tree: Tree) -> Iterator[Spot]:
    """The scripts can be started by their names."""
    for name in SCRIPTS:
        path = tree.root / name
        if not path.is_file():
            continue
        if not os.access(path, os.X_OK):
            yield Spot(name, None, "The file is not executable.")
        elif (tree.text(name) or "#!")[:2] != "#!" and "\0" not in (tree.text(name) or ""):
            yield Spot(name, 1, "The first line names no interpreter.")
