"""Verdicts are pure functions: their errors can be counted, without a clock."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.verdict import Verdict, compare, costs, growth, percentile, tail, walk

SECONDS = st.floats(min_value=0, max_value=60)
BLOCK = st.lists(SECONDS, min_size=1, max_size=200)
STEPS = st.lists(st.sampled_from(Verdict))


def share_of(verdict: Verdict, found: list[Verdict]) -> float:
    return found.count(verdict) / len(found)


@given(st.lists(st.booleans()))
def test_tail_is_decided_by_a_prefix(beyond: list[bool]) -> None:
    verdict = tail(beyond)
    if verdict is not Verdict.OPEN:
        assert tail([*beyond, True]) is tail([*beyond, False]) is verdict


@given(st.integers(min_value=0, max_value=300))
def test_tail_needs_neither_more_nor_less_than_it_can_prove(clean: int) -> None:
    needed = math.ceil(math.log(99) / math.log(0.98 / 0.90))
    assert tail([False] * clean) is (Verdict.GOOD if clean >= needed else Verdict.OPEN)


@pytest.mark.parametrize(("rate", "wrong"), [(0.01, Verdict.BAD), (0.15, Verdict.GOOD)])
def test_tail_errs_as_seldom_as_it_says(rate: float, wrong: Verdict) -> None:
    chance = random.Random(7)
    found = [tail(chance.random() < rate for _ in range(300)) for _ in range(2000)]
    assert share_of(wrong, found) <= 0.01


@given(STEPS, st.integers(1, 9), st.integers(1, 9))
def test_walk_is_decided_by_a_prefix(steps: list[Verdict], to_good: int, to_bad: int) -> None:
    verdict = walk(steps, to_good=to_good, to_bad=to_bad)
    if verdict is not Verdict.OPEN:
        assert walk([*steps, Verdict.BAD, Verdict.GOOD], to_good=to_good, to_bad=to_bad) is verdict


@given(STEPS, st.integers(1, 9), st.integers(1, 9))
def test_walk_goes_where_most_steps_go(steps: list[Verdict], to_good: int, to_bad: int) -> None:
    verdict = walk(steps, to_good=to_good, to_bad=to_bad)
    if verdict is Verdict.BAD:
        assert steps.count(Verdict.BAD) >= to_bad
    if verdict is Verdict.GOOD:
        assert steps.count(Verdict.GOOD) >= to_good
    mirrored = [{Verdict.GOOD: Verdict.BAD, Verdict.BAD: Verdict.GOOD}.get(step, step) for step in steps]
    swapped = {Verdict.GOOD: Verdict.BAD, Verdict.BAD: Verdict.GOOD}.get(verdict, verdict)
    assert walk(mirrored, to_good=to_bad, to_bad=to_good) is swapped


@given(st.lists(st.just(Verdict.OPEN)))
def test_walk_goes_nowhere_on_nothing(steps: list[Verdict]) -> None:
    assert walk(steps, to_good=1, to_bad=1) is Verdict.OPEN


def test_walk_forgives_noise() -> None:
    chance = random.Random(11)
    runs = [
        walk((Verdict.BAD if chance.random() < 0.1 else Verdict.GOOD for _ in range(8)), to_good=3, to_bad=4)
        for _ in range(20_000)
    ]
    assert share_of(Verdict.BAD, runs) <= 1 / 2000
    assert share_of(Verdict.GOOD, runs) >= 0.97


@given(BLOCK, BLOCK, BLOCK)
def test_slowness_of_the_machine_is_nobodys_fault(own: list[float], before: list[float], after: list[float]) -> None:
    verdict = compare(own, before, after, limit=0.2, grace=0.5)
    if max(percentile(before, 0.95), percentile(after, 0.95)) > 0.2:
        assert verdict is not Verdict.BAD


@given(BLOCK, BLOCK, BLOCK)
def test_slower_is_never_better(own: list[float], before: list[float], after: list[float]) -> None:
    order = [Verdict.GOOD, Verdict.OPEN, Verdict.BAD]
    faster = compare([value / 2 for value in own], before, after, limit=0.2, grace=0.5)
    assert order.index(faster) <= order.index(compare(own, before, after, limit=0.2, grace=0.5))


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0.01, Verdict.GOOD), (0.19, Verdict.GOOD), (0.3, Verdict.OPEN), (0.6, Verdict.OPEN), (0.9, Verdict.BAD)],
)
def test_compare_leaves_open_what_grace_covers(seconds: float, verdict: Verdict) -> None:
    quick = [0.01] * 100
    assert compare([seconds] * 100, quick, quick, limit=0.2, grace=0.5) is verdict


def test_compare_sees_the_tail() -> None:
    quick = [0.01] * 100
    assert compare(([0.01] * 4 + [2.0]) * 20, quick, quick, limit=0.2, grace=0.5) is Verdict.BAD
    assert compare([0.01] * 99 + [2.0], quick, quick, limit=0.2, grace=0.5) is Verdict.GOOD


def test_few_requests_prove_nothing() -> None:
    assert compare([0.01] * 20, [0.01], [0.01], limit=0.2, grace=0.5) is Verdict.OPEN


@given(BLOCK, st.floats(min_value=0.01, max_value=1))
def test_percentile_is_the_least_that_covers_the_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_percentile_of_nothing() -> None:
    assert percentile([], 0.95) == 0


@pytest.mark.parametrize(
    ("own", "reference", "verdict"),
    [(1.0, 1.0, Verdict.GOOD), (2.1, 1.0, Verdict.BAD), (0.0, 1.0, Verdict.OPEN), (1.0, 0.0, Verdict.OPEN)],
)
def test_costs(own: float, reference: float, verdict: Verdict) -> None:
    assert costs(own, reference, factor=2) is verdict


@given(st.floats(min_value=0.1, max_value=100), st.integers(min_value=3, max_value=8))
def test_growth_finds_a_leak(each: float, segments: int) -> None:
    readings = [(100 * step, 5000 + each * 100 * step) for step in range(segments + 1)]
    assert growth(readings) == pytest.approx(each, rel=1e-6)


@given(st.lists(st.integers(0, 50), min_size=4, max_size=8), st.integers(min_value=2, max_value=6))
def test_growth_forgives_a_step(noise: list[int], at: int) -> None:
    steady = [(100 * step, 1000.0 + (900 if step >= at else 0)) for step in range(len(noise))]
    assert growth(steady) == 0


def test_growth_needs_three_segments() -> None:
    assert growth([(0, 0), (10, 10), (20, 20)]) == 0
