"""Law: a cheat earns no more points than the honest service that it stands on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from grader.report import Outcome
from grader.submission import BadSubmissionError
from tests.cheats import Cheat, all_cheats, write_base
from tests.grading import Grading

CHEATS = all_cheats()

Points = Callable[[int, int], int]


@pytest.fixture(scope="session")
def honest(grading: Grading) -> Points:
    """The points in a lab of the service with so many labs solved; graded once a session."""

    @cache
    def points(solved: int, lab: int) -> int:
        folder = grading.scratch / f"honest-{solved}-{lab}"
        write_base(folder, solved)
        return grading(folder, [lab]).points

    return points


@pytest.mark.law
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_cheat_is_worthless(cheat: Cheat, grading: Grading, honest: Points, tmp_path: Path) -> None:
    folder = tmp_path / "submission"
    cheat.write(folder)
    try:
        report = grading(folder, cheat.labs)
    except BadSubmissionError:
        return  # refused, and told why
    for lab in report.labs:
        won = [check.name for check in lab.checks if check.points]
        assert lab.points <= honest(cheat.solved, lab.number), f"{cheat.trick}: it passed {', '.join(won)}"
    passed = {check.name for check in report.checks if check.outcome is Outcome.PASSED}
    fooled = {one.__name__.removeprefix("check_") for one in cheat.seen_by} & passed
    assert not fooled, f"{cheat.trick}: not seen by {', '.join(sorted(fooled))}"


def test_cheats_differ() -> None:
    names = [cheat.name for cheat in CHEATS]
    assert len(set(names)) == len(names)
