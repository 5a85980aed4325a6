from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grader.formats import View, render
from grader.hints import next_hint
from grader.history import History
from grader.report import LabResult, Report
from tests import examples

SERVICE = Path("service")


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.db", "ada")


def failing(*hints: str) -> Report:
    check = replace(examples.RUNS_OUT, hints=hints)
    return Report(labs=(LabResult(4, "rate_limiting", "Rate limiting", (check,)),))


def test_each_call_shows_one_more_hint(history: History) -> None:
    report = examples.rich()
    shown = []
    for _ in range(3):
        assert next_hint(report, history, SERVICE) == ""
        text = render(report, "terminal", View(hints=history.hints(SERVICE)))
        shown.append([hint in text for hint in examples.RUNS_OUT.hints])

    assert shown == [[True, False, False], [True, True, False], [True, True, True]]


def test_after_the_last_hint_it_says_where_to_look(history: History) -> None:
    report = failing("Only one.")
    next_hint(report, history, SERVICE)

    assert "have been shown; read notebooks/04_rate_limiting.ipynb" in next_hint(report, history, SERVICE)
    assert history.hints(SERVICE) == {(4, "allowance_runs_out"): 1}


def test_a_check_without_hints(history: History) -> None:
    assert "There are no hints for “A caller's eleventh" in next_hint(failing(), history, SERVICE)


def test_nothing_to_hint_at(history: History) -> None:
    assert next_hint(examples.passed(), history, SERVICE) == "No check failed, so there is nothing to hint at."
    assert next_hint(examples.not_started(), history, SERVICE) == ""


def test_hints_are_remembered_for_each_service(history: History) -> None:
    next_hint(examples.rich(), history, SERVICE)

    assert history.hints(Path("other")) == {}
    assert History(history.path, "ada").hints(SERVICE) == {(4, "allowance_runs_out"): 1}


def test_a_hint_is_for_the_first_failing_check_only(history: History) -> None:
    first = failing("First.").labs[0]
    second = LabResult(5, "caching", "Caching", (replace(examples.RUNS_OUT, lab=5, name="other"),))
    next_hint(Report(labs=(first, second)), history, SERVICE)

    assert history.hints(SERVICE) == {(4, "allowance_runs_out"): 1}
