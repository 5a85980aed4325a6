"""Screen: what a stream can show, asked once and in one place."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from rich.console import Console

from grader.formats.live import LiveProgress, PlainProgress

PIPED_WIDTH = 80
"""Columns of a report that no terminal shows, so that it is the same everywhere."""


class Screen(Console):
    """A console that leaves it to the program what to do when nobody reads on."""

    def on_broken_pipe(self) -> None:
        """Pass on the BrokenPipeError that is being handled."""
        raise  # noqa: PLE0704 - called from within the handler


def screen(stream: TextIO) -> Console:
    """Make a console for a stream.

    Styles go to terminals, and wherever `FORCE_COLOR` wants them; `NO_COLOR` takes the colours and leaves bold to
    terminals. Piped text has no control codes and 80 columns, or `COLUMNS`.
    """
    terminal = draws(stream)
    no_color = bool(os.environ.get("NO_COLOR"))
    styled = terminal or (os.environ.get("FORCE_COLOR", "0") not in {"", "0"} and not no_color)
    return Screen(
        file=stream,
        width=None if terminal else _columns(),
        force_terminal=styled,
        color_system="auto" if styled else None,
        no_color=no_color,
        force_jupyter=False,
    )


def draws(stream: TextIO) -> bool:
    """Whether the stream is a terminal on which lines can be drawn anew."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def progress() -> LiveProgress | PlainProgress:
    """Choose how to show a run: drawn where a terminal is, else told line by line on stderr."""
    stream = next((each for each in (sys.stdout, sys.stderr) if draws(each)), None)
    return LiveProgress(screen(stream)) if stream else PlainProgress(sys.stderr)


def _columns() -> int:
    return shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if os.environ.get("COLUMNS") else PIPED_WIDTH
