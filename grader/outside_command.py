"""`grade --target URL`: read who may call, grade from outside, remember who has called."""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dotenv

from grader import runner, workspace
from grader.formats.screen import progress
from grader.outside import Memory, Target, TargetError
from grader.outside_bench import KEYS, ROLES, USERS, OutsideWorkshop
from grader.report import Report

LABS = range(1, 8)
"""What is graded when no lab is named: deployment and scaling cannot be seen from outside."""


def grade_target(options: Namespace, labs: Sequence[int], seed: int) -> Report:
    """Grade a running service lab by lab. Raises ``TargetError``."""
    memory = Memory(workspace.home() / "target-callers.json")
    target = memory.rested(Target.of(options.target, _values(options.env_file), options.provider))
    workshop = OutsideWorkshop.around(target)
    try:
        with progress() as watcher, tempfile.TemporaryDirectory() as folder:
            Path(folder, "target").touch()  # the runner copies a folder, which here has nothing to say
            chosen = labs if options.labs else LABS
            report = runner.grade(
                Path(folder), chosen, seed=seed, load=False, jobs=1, progress=watcher, shared=workshop
            )
    finally:
        memory.note(_callers(target, workshop))
    paid = report.bill if target.control else None
    return replace(report, submission=options.target, bill=paid, command=f"grade --target {options.target}")


def _values(named: str | None) -> dict[str, str]:
    """Read the stack's env file, where the environment does not say otherwise."""
    path = Path(named).expanduser() if named else workspace.root() / ".env"
    if named and not path.exists():
        raise TargetError(f"there is no file {named}; --env-file names the .env of the stack")
    known = dotenv.dotenv_values(path, interpolate=False) if path.exists() else {}
    given = {name: os.environ[name] for name in ("GRADE_API_KEYS", "PROVIDER_TOKEN") if name in os.environ}
    return {name: value or "" for name, value in known.items()} | given


def _callers(target: Target, workshop: OutsideWorkshop) -> list[str]:
    """Return keys and passwords of those who have called."""
    used: list[str] = []
    for role in ROLES:
        keys = [key.secret for key in target.keys if key.role == role]
        users = [user.password for user in target.users if user.role == role]
        used += keys[: workshop.taken[f"{KEYS} {role}"].value] + users[: workshop.taken[f"{USERS} {role}"].value]
    return used
