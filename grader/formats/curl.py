"""Curl: a long command broken into lines that still can be pasted."""

from __future__ import annotations

import re

# A shell word as it was written: quotes of all kinds, escapes and plain characters side by side.
_WORD = re.compile(r"""(?:\$'(?:\\.|[^'\\])*'|'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+""", re.DOTALL)
_LONE_OPTIONS = frozenset(
    {"-i", "-s", "-S", "-N", "-sS", "-isS", "-L", "-k", "-v", "-g", "--globoff", "--no-buffer", "--path-as-is"}
)


def curl_lines(command: str, width: int) -> list[str]:
    """Break the command before its options, each line but the last ending in a backslash.

    No word is broken, so a line with a long body may be longer than `width`.
    """
    words = [match.group() for match in _WORD.finditer(command)]
    if " ".join(words) != command or len(command) <= width:
        return [command]
    lines = [""]
    for group in _groups(words):
        if lines[-1] and len(lines[-1]) + len(group) + 3 > width:
            lines[-1] += " \\"
            lines.append("  " + group)
        else:
            lines[-1] = f"{lines[-1]} {group}" if lines[-1] else group
    return lines


def _groups(words: list[str]) -> list[str]:
    """Join each option with its value: they are read together."""
    groups: list[str] = []
    waiting = False
    for word in words:
        if waiting:
            groups[-1] += " " + word
        else:
            groups.append(word)
        waiting = word.startswith("-") and word not in _LONE_OPTIONS and not waiting
    return groups
