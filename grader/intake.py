"""Intake: the submissions of a class, as folders or .zip archives, laid out so that each can be graded."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from grader.submission import IGNORED, MAX_BYTES, MAX_FILES, BadSubmissionError

_ASIDE = frozenset({"__MACOSX"})
_MOST = f"{MAX_FILES} files or {MAX_BYTES >> 20} MB"
_CHUNK = 1 << 16
_DEPTH = 4
"""Folders that may lie around the service, as archives of archives' folders have them."""


@dataclass(frozen=True)
class Entry:
    """What somebody handed in."""

    name: str
    path: Path

    def lay_out(self, folder: Path) -> Path:
        """Return the folder of the service; an archive is unpacked into ``folder``. Raises ``BadSubmissionError``."""
        if self.path.is_dir():
            return _service_in(self.path)
        if self.path.suffix.lower() != ".zip":
            raise BadSubmissionError(f"{self.path.name} is neither a folder nor a .zip archive.")
        if not self.path.is_file():
            raise BadSubmissionError(f"There is no file {self.path}.")
        unpack(self.path, folder)
        return _service_in(folder)


def entries(place: Path) -> list[Entry]:
    """Return the submissions in a folder, or those that a text file lists by their paths, one a line.

    Raises ``BadSubmissionError`` when there is none.
    """
    if place.is_dir():
        paths = [path for path in sorted(place.iterdir()) if not path.name.startswith(".") and path.name not in _ASIDE]
    else:
        paths = [place.parent / line for line in _lines(place)]
    if not paths:
        raise BadSubmissionError(f"{place} names no submission: it must hold folders or .zip archives, or list them.")
    found: dict[str, Entry] = {}
    for path in paths:
        name = path.stem if path.suffix.lower() == ".zip" else path.name
        number = sum(known == name or known.startswith(f"{name} (") for known in found)
        name = f"{name} ({number + 1})" if number else name
        found[name] = Entry(name, path)
    return list(found.values())


def _lines(place: Path) -> list[str]:
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise BadSubmissionError(
            f"{place} is neither a folder of submissions nor a text file that lists them, one path a line."
        ) from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _service_in(folder: Path) -> Path:
    """Find the service: in the copy of a whole course, or in a folder that holds only one folder."""
    for _ in range(_DEPTH):
        if (folder / "labs" / "service").is_dir():
            return folder / "labs" / "service"
        inside = [path for path in folder.iterdir() if path.name not in _ASIDE and not path.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].is_symlink() or inside[0].name == "app":
            break
        folder = inside[0]
    return folder


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .zip archive; environments and caches in it are left out. Raises ``BadSubmissionError``.

    Counted is what comes out, not what the archive says of itself.
    """
    too_much = BadSubmissionError(f"{archive.name} holds more than {_MOST}; send the service alone, without packages.")
    try:
        if archive.stat().st_size > MAX_BYTES:
            raise too_much
        with zipfile.ZipFile(archive) as opened:
            left = MAX_BYTES
            for number, (member, place) in enumerate(_wanted(opened), 1):
                left -= _write(opened, member, target / place, left)
                if number > MAX_FILES or left < 0:
                    raise too_much
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as problem:
        raise BadSubmissionError(f"{archive.name} cannot be unpacked ({problem}); pack it again as a .zip.") from None


def _wanted(archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    for member in archive.infolist():
        place = PurePosixPath(member.filename)
        if member.is_dir() or {*place.parts} & (IGNORED | _ASIDE):
            continue
        kind = stat.S_IFMT(member.external_attr >> 16)
        if place.is_absolute() or ".." in place.parts or "\0" in member.filename:
            raise BadSubmissionError(f"{member.filename!r} in the archive leaves its folder; pack it again.")
        if kind not in {0, stat.S_IFREG}:
            raise BadSubmissionError(f"{member.filename} in the archive is a link or a device; pack the file itself.")
        yield member, place


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, left: int) -> int:
    """Write one file, up to a little more than ``left`` bytes of it, and return its size."""
    place.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(member) as source, place.open("wb") as file:
        while size <= left and (data := source.read(_CHUNK)):
            size += file.write(data)
    place.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)
    return size


def digest(folder: Path) -> str:
    """Return a SHA-256 of the names and contents of a folder's files, environments and caches left out.

    Raises ``BadSubmissionError`` for a folder that is too large to be graded.
    """
    whole, left = hashlib.sha256(), MAX_BYTES
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not {*inside.parts} & IGNORED:
            left -= path.stat().st_size
            if left < 0:
                raise BadSubmissionError(f"{folder.name} holds more than {_MOST}; send the service alone.")
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{content} {inside.as_posix()}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()
