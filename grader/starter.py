"""Renders the starter, the finished service and every state between from one source.

The source is the finished code with comments around what each lab asks for:

    # BEGIN SOLUTION 4: Take one token for each request.
    #: return {}
    return await take_one_token()
    # END SOLUTION

While lab 4 is open the block reads `# TODO (lab 4): Take one token for each request.` and what the `#: ` lines
say; once it is solved, the sentence stands above the code as its comment. A line that ends in `# SOLUTION 4` is there
only once lab 4 is solved, which is for imports. Blocks do not nest.
"""

from __future__ import annotations

import itertools
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_BEGIN = re.compile(r"(?P<indent>\s*)# BEGIN SOLUTION (?P<lab>\d+): (?P<sentence>\S.*)\s*")
_END = re.compile(r"\s*# END SOLUTION\s*")
_BEFORE = re.compile(r"(?P<indent>\s*)#:(?: (?P<code>.*))?\s*")
_LINE = re.compile(r"(?P<code>.*\S)  # SOLUTION (?P<lab>\d+)\s*")
_MARKER = re.compile(r".*# (?:BEGIN|END) SOLUTION\b", re.DOTALL)
_MALFORMED = "write `# BEGIN SOLUTION 4: Sentence.` or `# END SOLUTION`, alone on its line"
_LEFT_OUT = frozenset(
    {".ipynb_checkpoints", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", ".env"}
)


class MarkerError(ValueError):
    """A marker that is malformed, stray, nested or never closed; the message starts with file and line."""


def render(text: str, solved: Collection[int], *, name: str = "<text>") -> str:
    """Return `text` as it reads when exactly the labs in `solved` are done; `name` is the file that errors name.

    Raises MarkerError.
    """
    kept: list[str] = []
    doubled = 0  # blank lines that stand on both sides of a line that was left out
    for line in _rendered(text.splitlines(keepends=True), solved, name):
        if line is None:
            doubled = _blank_lines_at_end(kept)
        elif line.isspace() and doubled:
            doubled -= 1
        else:
            doubled = 0
            kept.append(line)
    if len(kept) < text.count("\n"):
        del kept[len(kept) - _blank_lines_at_end(kept) :]
    return "".join(kept)


def _blank_lines_at_end(lines: list[str]) -> int:
    return sum(1 for _ in itertools.takewhile(str.isspace, reversed(lines)))


def _rendered(lines: list[str], solved: Collection[int], name: str) -> Iterator[str | None]:
    """Yield the lines that stay, and None where one is left out."""
    block: _Block | None = None
    for number, line in enumerate(lines, start=1):
        if begin := _BEGIN.fullmatch(line):
            _demand(block is None, name, number, "BEGIN SOLUTION inside a block that is still open")
            block = _Block(number, solved=int(begin["lab"]) in solved)
            yield _heading(begin, done=block.solved)
        elif _END.fullmatch(line):
            _demand(block is not None, name, number, "END SOLUTION without BEGIN SOLUTION")
            block = None
            yield None
        elif before := _BEFORE.fullmatch(line):
            _demand(block is not None, name, number, "a `#:` line outside any block")
            yield _line_before(before) if block and not block.solved else None
        else:
            _demand(not _MARKER.match(line), name, number, _MALFORMED)
            yield _marked_line(line, solved) if block is None or block.solved else None
    _demand(block is None, name, block.line if block else 0, "BEGIN SOLUTION without END SOLUTION")


@dataclass(frozen=True)
class _Block:
    """The block that is being read."""

    line: int
    solved: bool


def _demand(holds: object, name: str, line: int, message: str) -> None:
    if not holds:
        raise MarkerError(f"{name}:{line}: {message}")


def _heading(begin: re.Match[str], *, done: bool) -> str:
    """Return the sentence of a block, as a comment or as something to do."""
    todo = "" if done else f"TODO (lab {begin['lab']}): "
    return f"{begin['indent']}# {todo}{begin['sentence'].rstrip()}\n"


def _line_before(before: re.Match[str]) -> str:
    """Return a line that stands in a block as long as its lab is open."""
    return f"{before['indent']}{before['code']}\n" if before["code"] else "\n"


def _marked_line(line: str, solved: Collection[int]) -> str | None:
    """Return a line of the finished code: without its own marker, or nothing if its lab is open."""
    marked = _LINE.fullmatch(line)
    if not marked:
        return line
    return f"{marked['code']}\n" if int(marked["lab"]) in solved else None


def render_tree(source: Path, target: Path, solved: Collection[int]) -> list[Path]:
    """Render every file under `source` into `target`; return the relative paths written, sorted.

    Permissions are kept, files that are not UTF-8 text are copied, caches and databases left out. Raises MarkerError.
    """
    written = sorted(files(source))
    for relative in written:
        origin, copy = source / relative, target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(origin, copy)
        try:
            text = origin.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        copy.write_bytes(render(text, solved, name=str(origin)).encode())
    return written


def labs_in(path: Path) -> set[int]:
    """Return the numbers of the labs that have something to write in a file of the source."""
    lines = path.read_bytes().decode(errors="replace").splitlines()
    return {int(begin["lab"]) for line in lines if (begin := _BEGIN.fullmatch(line))}


def files(source: Path) -> Iterator[Path]:
    """Yield the relative paths of a service's own files: no caches, no databases, no local secrets."""
    for path in source.rglob("*"):
        relative = path.relative_to(source)
        if path.is_file() and path.suffix != ".db" and _LEFT_OUT.isdisjoint(relative.parts):
            yield relative
