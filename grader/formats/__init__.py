"""Formats: one report, told to learners, instructors and machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from grader.formats.visible import visible_report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grader.report import Report

FORMATS = {
    "terminal": "grader.formats.terminal",
    "json": "grader.formats.json_format",
    "markdown": "grader.formats.markdown",
    "junit": "grader.formats.junit",
    "html": "grader.formats.html",
}
"""Name → module with `render(report, view) -> str`, imported when asked for."""

SUFFIXES = {".txt": "terminal", ".json": "json", ".md": "markdown", ".xml": "junit", ".html": "html", ".htm": "html"}
"""File name ending → format, for files whose format is not named."""


@dataclass(frozen=True)
class View:
    """What the reader asked to see.

    `hints` counts the hints shown for (lab number, check name); `following` is the stem of the lab after those graded;
    `service` is the option that names the service, such as `--service work/ada`, empty for the usual folder;
    `base` leads from the rendered page to the repository's root, such as `../`; `files` have been written as well.
    """

    verbose: bool = False
    hints: Mapping[tuple[int, str], int] = field(default_factory=dict)
    following: str = ""
    service: str = ""
    base: str = ""
    files: tuple[str, ...] = ()
    width: int = 80


def render(report: Report, format: str, view: View | None = None) -> str:  # noqa: A002 - the command's own word
    """Give the report as text in one of `FORMATS`.

    Text that came from the service is made visible first, so that no format has to fear control characters.
    """
    module = import_module(FORMATS[format])
    safe = report if format == "json" else visible_report(report)
    text: str = module.render(safe, view or View())
    return text
