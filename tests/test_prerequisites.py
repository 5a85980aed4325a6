"""A check that builds on an undecided one is not held against the learner."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from grader.report import CheckResult, Outcome
from grader.runner import _lab_result

BEFORE = CheckResult(lab=9, name="tasks_are_done", promise="", outcome=Outcome.PASSED, points=2, max_points=2)
AFTER = replace(BEFORE, name="tasks_are_kept")
CHAPTER: Any = SimpleNamespace(
    number=9,
    slug="scaling",
    title="Scaling",
    checks=[SimpleNamespace(name=BEFORE.name, needs=()), SimpleNamespace(name=AFTER.name, needs=(BEFORE.name,))],
)


@pytest.mark.parametrize(
    ("outcome", "waived", "blocking"),
    [
        (Outcome.FAILED, False, True),
        (Outcome.SKIPPED, False, True),
        (Outcome.SKIPPED, True, False),
        (Outcome.INCONCLUSIVE, False, False),
        (Outcome.ERROR, False, False),
    ],
)
def test_what_the_next_check_becomes(outcome: Outcome, waived: bool, blocking: bool) -> None:
    before = replace(BEFORE, outcome=outcome, points=0, waived=waived)
    after = _lab_result(CHAPTER, [before, AFTER], 0.0).checks[1]
    assert after.outcome is Outcome.SKIPPED
    assert after.blocking is blocking
    assert "tasks are done" in after.message


def test_after_a_pass_it_counts() -> None:
    assert _lab_result(CHAPTER, [BEFORE, AFTER], 0.0).points == 4
