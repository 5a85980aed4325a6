"""Selection: the labs a learner names, as numbers, ranges, slugs or `all`."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class UnknownLabError(ValueError):
    """A word names no lab; the text says which there are."""


def select(words: Sequence[str], built: Mapping[int, str]) -> list[int]:
    """Give the numbers of the labs named, in course order; all that are built when none is. Raises UnknownLabError."""
    if not built:
        raise UnknownLabError("no lab is built yet: grader/checks holds no lab_NN_name.py")
    parts = [part for word in words for part in word.split(",") if part]
    chosen = {number for part in parts for number in _labs(part, built)}
    return sorted(chosen or built)


def _labs(word: str, built: Mapping[int, str]) -> list[int]:
    name = word.strip().lower().replace("-", "_")
    if name == "all":
        return list(built)
    if match := re.fullmatch(r"(?:lab_?)?(\d+)", name):
        return [_known(int(match[1]), word, built)]
    if match := re.fullmatch(r"(\d+)(?:_|\.\.)(\d+)", name):
        return _between(int(match[1]), int(match[2]), word, built)
    slug = re.sub(r"^(?:lab_)?\d\d_", "", name)
    if slug in built.values():
        return [number for number, each in built.items() if each == slug]
    raise UnknownLabError(_unknown(word, slug, built))


def _between(first: int, last: int, word: str, built: Mapping[int, str]) -> list[int]:
    if first > last:
        raise UnknownLabError(f"the range {word} runs backwards; write {last}-{first}")
    _known(first, word, built)
    _known(last, word, built)
    return [number for number in built if first <= number <= last]


def _known(number: int, word: str, built: Mapping[int, str]) -> int:
    if number not in built:
        raise UnknownLabError(_unknown(word, "", built))
    return number


def _unknown(word: str, slug: str, built: Mapping[int, str]) -> str:
    near = difflib.get_close_matches(slug, built.values(), n=1)
    advice = (
        f"did you mean {near[0]}?"
        if near
        else f"choose from {_spans(list(built))}, a range such as 1-2, a name, or all"
    )
    return f"there is no lab {word}; {advice} (grade list shows them)"


def _spans(numbers: list[int]) -> str:
    """`1-4, 6`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join("-".join(map(str, span)) for span in spans)
