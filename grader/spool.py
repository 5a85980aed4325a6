"""Bounded log files: what a process writes is kept in two generations, so that a flood fills no disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

GENERATION = 4 << 20
"""Bytes after which a log file is renamed to ``NAME.1``, in place of an earlier one."""


def previous(path: Path) -> Path:
    """Return where the generation before ``path`` lies."""
    return path.with_name(path.name + ".1")


def size_of(path: Path) -> int:
    """Return the size of a file, 0 when it does not exist."""
    return path.stat().st_size if path.exists() else 0


class Spool:
    """The writing end of a bounded log file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, data: bytes) -> None:
        """Append; a full disk loses the line and not the process."""
        if self._size + len(data) > GENERATION:
            self._file.close()
            self._path.replace(previous(self._path))
            self._file = self._path.open("ab", buffering=0)
            self._size = 0
        try:
            self._size += self._file.write(data) or 0
        except OSError:
            return

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LogReader:
    """Reads a bounded log file onward, across the change of generations."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        if path.exists():
            self._file = path.open("rb")
            self._file.seek(offset)

    def read(self) -> bytes:
        """Return what was written since the last call; what a flood pushed out in between is lost."""
        rest = self._file.read() if self._file else b""
        if self._file is None or not self._is_current(self._file):
            self.close()
            if self._path.exists():
                self._file = self._path.open("rb")
                rest += self._file.read()
        return rest

    def _is_current(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None


def tail(path: Path, size: int = 64 << 10) -> str:
    """Return the last ``size`` bytes of a log, the generation before included; empty when there is no log."""
    last = b""
    for file in (path, previous(path)):
        if len(last) < size and file.exists():
            with file.open("rb") as stream:
                stream.seek(max(0, file.stat().st_size - (size - len(last))))
                last = stream.read() + last
    return last.decode(errors="replace")
