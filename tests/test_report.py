from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.chart import Chart, bars, histogram
from grader.report import CheckResult, LabResult, Outcome, Report, StartProblem
from tests import examples


def result(outcome: Outcome, points: int, max_points: int, *, waived: bool = False) -> CheckResult:
    return CheckResult(1, "check", "Promise.", outcome, points, max_points, waived=waived)


@st.composite
def results(draw: st.DrawFn) -> CheckResult:
    max_points = draw(st.integers(0, 5))
    points = draw(st.integers(0, max_points))
    return result(draw(st.sampled_from(Outcome)), points, max_points, waived=draw(st.booleans()))


labs = st.builds(
    LabResult,
    number=st.integers(1, 10),
    slug=st.just("slug"),
    title=st.text(),
    checks=st.lists(results(), max_size=6).map(tuple),
)
reports = st.builds(
    Report,
    labs=st.lists(labs, max_size=5).map(tuple),
    problem=st.none() | st.just(StartProblem("cause")),
    notes=st.lists(st.text()).map(tuple),
    seed=st.integers(0),
)


@given(reports)
@settings(deadline=None)
def test_totals_add_up_and_stay_within_their_bounds(report: Report) -> None:
    assert report.points == sum(lab.points for lab in report.labs)
    assert report.points == sum(check.points for check in report.checks if check.counted)
    assert report.max_points + report.undecided_points == sum(check.max_points for check in report.checks)
    assert 0 <= report.points <= report.max_points


@given(reports)
@settings(deadline=None)
def test_exit_code_is_0_only_when_something_passed_and_nothing_failed(report: Report) -> None:
    if report.exit_code == 0:
        assert report.problem is None
        assert report.count(Outcome.PASSED)
        assert not report.first_blocking
        assert not report.count(Outcome.ERROR)
    elif report.exit_code == 1:
        assert report.first_blocking
    else:
        assert report.outcome in {Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.SKIPPED}


@given(reports)
@settings(deadline=None)
def test_a_report_survives_json(report: Report) -> None:
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_rich_example_survives_json() -> None:
    assert Report.from_dict(json.loads(json.dumps(examples.rich().to_dict()))) == examples.rich()


def test_totals_are_computed_and_not_believed() -> None:
    data = examples.rich().to_dict() | {"points": 1000, "outcome": "passed", "exit_code": 0}
    data["labs"][1] = data["labs"][1] | {"points": 1000, "outcome": "passed"}

    report = Report.from_dict(data)

    assert (report.points, report.outcome, report.exit_code) == (7, Outcome.ERROR, 2)


@pytest.mark.parametrize(
    ("outcomes", "expected", "exit_code"),
    [
        ([Outcome.PASSED, Outcome.PASSED], Outcome.PASSED, 0),
        ([Outcome.PASSED, Outcome.INCONCLUSIVE], Outcome.PASSED, 0),
        ([Outcome.PASSED, Outcome.FAILED], Outcome.FAILED, 1),
        ([Outcome.PASSED, Outcome.SKIPPED], Outcome.FAILED, 1),
        ([Outcome.FAILED, Outcome.INCONCLUSIVE], Outcome.FAILED, 1),
        ([Outcome.FAILED, Outcome.ERROR], Outcome.ERROR, 2),
        ([Outcome.INCONCLUSIVE], Outcome.INCONCLUSIVE, 2),
        ([], Outcome.SKIPPED, 2),
    ],
)
def test_outcome_of_a_lab_and_of_its_run(outcomes: list[Outcome], expected: Outcome, exit_code: int) -> None:
    lab = LabResult(1, "slug", "Title", tuple(result(each, 0, 1) for each in outcomes))

    assert lab.outcome is expected
    assert Report(labs=(lab,)).exit_code == exit_code


def test_a_failing_guard_fails_its_lab_without_costing_points() -> None:
    lab = LabResult(1, "slug", "Title", (result(Outcome.PASSED, 2, 2), result(Outcome.FAILED, 0, 0)))

    assert lab.outcome is Outcome.FAILED
    assert (lab.points, lab.max_points) == (2, 2)


def test_inconclusive_broken_and_waived_checks_cost_nothing() -> None:
    checks = (
        result(Outcome.PASSED, 2, 2),
        result(Outcome.INCONCLUSIVE, 0, 3),
        result(Outcome.ERROR, 0, 4),
        result(Outcome.SKIPPED, 0, 5, waived=True),
        result(Outcome.SKIPPED, 0, 6),
    )
    lab = LabResult(1, "slug", "Title", checks)

    assert (lab.points, lab.max_points, lab.undecided_points) == (2, 8, 12)


def test_a_lab_left_undecided_keeps_a_run_from_passing() -> None:
    passed = LabResult(1, "one", "One", (result(Outcome.PASSED, 1, 1),))
    undecided = LabResult(2, "two", "Two", (result(Outcome.INCONCLUSIVE, 0, 1),))

    assert Report(labs=(passed, undecided)).exit_code == 2


def test_a_lab_whose_checks_were_all_waived_does_not_matter() -> None:
    passed = LabResult(1, "one", "One", (result(Outcome.PASSED, 1, 1),))
    waived = LabResult(2, "two", "Two", (result(Outcome.SKIPPED, 0, 1, waived=True),))

    assert Report(labs=(passed, waived)).exit_code == 0


@pytest.mark.parametrize(("points", "max_points"), [(2, 1), (-1, 1)])
def test_impossible_points_are_refused(points: int, max_points: int) -> None:
    with pytest.raises(ValueError, match="points"):
        result(Outcome.PASSED, points, max_points)


def test_place_of_a_problem() -> None:
    assert StartProblem("cause", file="app/main.py", line=3).place == "app/main.py:3"
    assert StartProblem("cause", file="app/main.py").place == "app/main.py"
    assert StartProblem("cause").place == ""


@given(st.lists(st.floats(-1e6, 1e6), max_size=50), st.lists(st.floats(-1e6, 1e6), max_size=50))
@settings(deadline=None)
def test_a_histogram_counts_every_sample_once(yours: list[float], ours: list[float]) -> None:
    chart = histogram("Title", {"yours": yours, "ours": ours}, "Sentence.")

    assert [sum(series.values) for series in chart.series] == [len(yours), len(ours)]
    assert Chart.from_dict(json.loads(json.dumps(chart.to_dict()))) == chart


def test_a_chart_with_numbers_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 values"):
        bars("Title", {"yours": [1.0]}, ["a", "b"], "Sentence.")
