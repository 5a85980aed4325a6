from __future__ import annotations

import pytest

from grader.selection import UnknownLabError, select

BUILT = {1: "architecture", 2: "apis", 3: "auth", 4: "rate_limiting", 6: "observability"}


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], [1, 2, 3, 4, 6]),
        (["all"], [1, 2, 3, 4, 6]),
        (["4"], [4]),
        (["04"], [4]),
        (["4", "1", "4"], [1, 4]),
        (["2-4"], [2, 3, 4]),
        (["2..4"], [2, 3, 4]),
        (["4-6"], [4, 6]),
        (["1,3", "6"], [1, 3, 6]),
        (["rate_limiting"], [4]),
        (["Rate-Limiting"], [4]),
        (["04_rate_limiting"], [4]),
        (["lab_04_rate_limiting"], [4]),
        (["lab4"], [4]),
        (["all", "2"], [1, 2, 3, 4, 6]),
    ],
)
def test_select(words: list[str], chosen: list[int]) -> None:
    assert select(words, BUILT) == chosen


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("5", "there is no lab 5; choose from 1-4, 6"),
        ("0", "choose from 1-4, 6"),
        ("4-2", "the range 4-2 runs backwards; write 2-4"),
        ("2-9", "there is no lab 2-9"),
        ("rate_limitin", "did you mean rate_limiting?"),
        ("../etc/passwd", "there is no lab ../etc/passwd"),
        ("", None),
    ],
)
def test_select_refuses_and_says_what_to_do(word: str, advice: str | None) -> None:
    if advice is None:
        assert select([word], BUILT) == list(BUILT)
        return
    with pytest.raises(UnknownLabError) as refused:
        select([word], BUILT)
    assert advice in str(refused.value)
    assert "\n" not in str(refused.value)


def test_select_before_any_lab_is_built() -> None:
    with pytest.raises(UnknownLabError, match="no lab is built yet"):
        select([], {})
