"""Visible: text from a stranger's service, made harmless for terminals, XML and readers."""

from __future__ import annotations

import re
from typing import Any

from grader.report import Report

# Control characters but tab and newline, direction overrides, line separators, byte order marks, lone surrogates
# and the two code points XML 1.0 refuses: each could hide, move or break what stands around it.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    r"""Write characters that act instead of showing as escapes, such as `\x1b`."""
    return _HIDDEN.sub(_escape, text.replace("\r\n", "\n"))


def visible_report(report: Report) -> Report:
    """Give the same report with every text in it made visible."""
    return Report.from_dict(_visible(report.to_dict()))


def _escape(match: re.Match[str]) -> str:
    return ascii(match.group())[1:-1]


def _visible(value: Any) -> Any:  # noqa: ANN401 - anything JSON holds
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): _visible(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(each) for each in value]
    return value
