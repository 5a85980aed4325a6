"""SQLite: a database file that can break under the feet of those who have it open."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WAL_INDEX_HEAD = 96  # bytes: two copies of the header, https://www.sqlite.org/walformat.html section 2.1


class SqliteDatabase:
    """A database file, and its address for the service."""

    source = "stdlib"
    version = sqlite3.sqlite_version

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.url = f"sqlite:///{self.path}"
        self._aside = self.path.with_name(self.path.name + ".aside")
        self._content: dict[Path, bytes] = {}

    def wipe(self) -> None:
        """Remove the file and the journals beside it; nobody may have it open."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def break_(self) -> None:
        """Break it, for open connections (its bytes become noise) and for new ones (a folder takes its place)."""
        if self._content:
            return
        journal = self.path.with_name(self.path.name + "-wal")
        with self._quiet():
            self._content = {file: file.read_bytes() for file in (self.path, journal) if file.exists()}
            for file, content in self._content.items():
                _overwrite(file, bytes(len(content)))
            self._forget_index()
        if self.path.exists():
            self.path.rename(self._aside)
        self._content.setdefault(self.path, b"")
        self.path.mkdir()

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Hold the file while nobody is in the middle of writing to it."""
        if not self.path.exists():
            yield
            return
        with contextlib.closing(sqlite3.connect(self.path, timeout=5.0, isolation_level=None)) as connection:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("BEGIN EXCLUSIVE")
            yield
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def repair(self) -> None:
        """Bring it back as it was; connections that were open work again."""
        if not self._content:
            return
        self.path.rmdir()
        if self._aside.exists():
            self._aside.rename(self.path)
        for file, content in self._content.items():
            if content:
                _overwrite(file, content)
        self._forget_index()
        self._content.clear()

    def _forget_index(self) -> None:
        """Clear the head of the write-ahead log's index, where there is one: whoever has it in memory reads again."""
        index = self.path.with_name(self.path.name + "-shm")
        if index.exists():
            with index.open("r+b") as stream:
                stream.write(bytes(_WAL_INDEX_HEAD))

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        """Break it while inside."""
        self.break_()
        try:
            yield
        finally:
            self.repair()


def _overwrite(file: Path, content: bytes) -> None:
    """Write in place, so that whoever has the file open sees it."""
    with file.open("r+b" if file.exists() else "wb") as stream:
        stream.write(content)
        stream.truncate()
