from __future__ import annotations

import pytest

from grader.allowance import Tally, announced, retry_after
from grader.exchange import Exchange
from grader.expectation import Broken, Inconclusive


def answered(status: int, headers: dict[str, str] | None = None, *, at: float = 0.0) -> Exchange:
    return Exchange("POST", "/chat", (), b"", status, headers or {}, b"{}", "", at, at, at)


def tally(passed: int, refused: int, *, over: float = 0.0, starved: float = 0.0) -> Tally:
    answers = [answered(200) for _ in range(passed)] + [answered(429) for _ in range(refused)]
    return Tally((*answers, answered(429, at=over)), starved)


def test_the_limit_and_what_was_gained_may_pass() -> None:
    tally(5, 3).verify(5, 1.0, "at once")
    tally(7, 3, over=2.4).verify(5, 1.0, "one after another")


@pytest.mark.parametrize(("passed", "over"), [(6, 0.9), (4, 0.0), (8, 2.4)])
def test_one_more_or_less_breaks_the_promise(passed: int, over: float) -> None:
    with pytest.raises(Broken, match=f"{passed} passed"):
        tally(passed, 9, over=over).verify(5, 1.0, "at once")


def test_prices_divide_the_limit() -> None:
    tally(3, 2).verify(10, 1.0, "for 3 tokens each", price=3)
    with pytest.raises(Broken):
        tally(4, 2).verify(10, 1.0, "for 3 tokens each", price=3)


def test_a_busy_machine_excuses_one_limit() -> None:
    with pytest.raises(Inconclusive):
        tally(10, 5, starved=1.0).verify(5, 1.0, "at once")
    with pytest.raises(Broken):
        tally(11, 5, starved=1.0).verify(5, 1.0, "at once")


def test_other_answers_are_not_counted() -> None:
    with pytest.raises(Broken, match="answered 500"):
        Tally.of([answered(200), answered(500)])


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "62", "soon", ""])
def test_retry_after_is_whole_and_bounded(value: str) -> None:
    with pytest.raises(Broken):
        retry_after(answered(429, {"retry-after": value}), 61)


def test_retry_after_is_returned() -> None:
    assert retry_after(answered(429, {"retry-after": "61"}), 61) == 61


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, (None, None)),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "3"}, (10, 3)),
        ({"x-ratelimit-limit": "10, 10;w=60"}, (10, None)),
        ({"ratelimit-policy": '"default";q=10;w=60', "ratelimit": '"default";r=3;t=12'}, (10, 3)),
        (
            {"ratelimit-policy": '"work";q=99;w=9, "requests";q=10;w=60', "ratelimit": '"work";r=7, "requests";r=4'},
            (10, 4),
        ),
        ({"ratelimit": '"default";r=3;t=12'}, (None, 3)),
    ],
)
def test_both_forms_of_headers_are_read(headers: dict[str, str], told: tuple[int | None, int | None]) -> None:
    assert announced(answered(200, headers), 10) == told
