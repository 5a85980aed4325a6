"""A learner's folder, and what its ``pyproject.toml`` says about starting it."""

from __future__ import annotations

import compileall
import shlex
import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_FILES = 5_000
MAX_BYTES = 64 * 1024 * 1024
IGNORED = frozenset(
    {".git", ".venv", "venv", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)


class BadSubmissionError(Exception):
    """The folder cannot be graded; the text says why and what to do."""


@dataclass(frozen=True)
class Submission:
    """A service root (contract: "The service root").

    ``app`` is what uvicorn imports, ``worker`` the command line of the background worker.
    """

    root: Path
    app: str = "app.main:app"
    factory: bool = False
    worker: tuple[str, ...] = ("celery", "-A", "app.worker", "worker", "--concurrency", "2")

    @classmethod
    def at(cls, root: Path) -> Submission:
        """Read ``[tool.grade]`` of a folder. Raises ``BadSubmissionError``."""
        root = root.resolve()
        if not root.is_dir():
            raise BadSubmissionError(f"There is no folder {root}. Name the service's folder with --service.")
        if not any(root.iterdir()):
            raise BadSubmissionError(f"The folder {root} is empty. `course reset --all` brings the starter back.")
        table = _tool_grade(root / "pyproject.toml")
        app, factory, worker = table.get("app", cls.app), table.get("factory", False), table.get("worker")
        if not isinstance(app, str) or ":" not in app:
            raise BadSubmissionError('[tool.grade] app must look like "package.module:attribute".')
        if not isinstance(factory, bool):
            raise BadSubmissionError("[tool.grade] factory must be true or false.")
        if worker is not None and not isinstance(worker, str):
            raise BadSubmissionError("[tool.grade] worker must be one command line.")
        return cls(root, app, factory, tuple(shlex.split(worker)) if worker else cls.worker)

    def copy_to(self, target: Path) -> Submission:
        """Copy the folder so that a run cannot change the learner's files. Raises ``BadSubmissionError``.

        Links that leave the folder, devices, and folders beyond the limits are refused.
        """
        files, size = 0, 0
        for path in self._walk(self.root):
            if path.is_symlink() and not path.resolve().is_relative_to(self.root):
                raise BadSubmissionError(f"{path.relative_to(self.root)} is a link that leaves the folder; remove it.")
            if not (path.is_file() or path.is_dir() or path.is_symlink()):
                raise BadSubmissionError(f"{path.relative_to(self.root)} is neither a file nor a folder; remove it.")
            files, size = files + 1, size + (path.lstat().st_size if path.is_file() else 0)
            if files > MAX_FILES or size > MAX_BYTES:
                limit = f"{MAX_FILES} files or {MAX_BYTES >> 20} MB"
                raise BadSubmissionError(f"{self.root} holds more than {limit}. Is it the service's folder?")
        shutil.copytree(self.root, target, symlinks=True, ignore=shutil.ignore_patterns(*IGNORED))
        # Every start would compile the same sources again; what does not compile is left for the start to tell.
        compileall.compile_dir(target, maxlevels=8, quiet=2)
        return Submission(target, self.app, self.factory, self.worker)

    def _walk(self, folder: Path) -> Iterable[Path]:
        for path in folder.iterdir():
            if path.name in IGNORED:
                continue
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from self._walk(path)


def _tool_grade(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSubmissionError(f"{path.name} cannot be read: {error}") from None
    table = found.get("tool", {}).get("grade", {})
    if not isinstance(table, dict):
        raise BadSubmissionError("[tool.grade] must be a table.")
    return table
