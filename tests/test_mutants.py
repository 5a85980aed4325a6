"""Law: each named fault is caught by its named check."""

from __future__ import annotations

import re

import pytest

from grader.course import Course
from tests.grading import Grading, failed, failures
from tests.mutants import SOLUTION, Mutant, all_mutants

MUTANTS = all_mutants()


DOWN = re.compile(r"With .* the service does not start")
"""A service that does not even start fails every check, which proves nothing."""


@pytest.mark.law
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"lab{mutant.labs[0]:02d}-{mutant.name}")
def test_mutant_is_caught(mutant: Mutant, grading: Grading) -> None:
    folder = grading.copy_of_solution(mutant.name)
    mutant.apply(folder)
    report = grading.decided(folder, mutant.labs, only=mutant.checks)
    named = ", ".join(sorted(mutant.checks))
    told = f"{mutant.fault} ({mutant.file}), to be caught by {named}:\n{failures(report)}"
    assert not report.problem, told
    assert len(report.checks) == len(mutant.checks), told
    assert failed(report), f"{told}no check that was named has failed"
    assert all(result.blocking for result in report.checks), told
    assert not any(DOWN.match(result.message) for result in report.checks), told


def test_faults_differ() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)


def test_every_graded_check_catches_something() -> None:
    caught = {(lab, check) for mutant in MUTANTS for lab in mutant.labs for check in mutant.checks}
    idle = [
        f"{chapter.number} {check.name}"
        for chapter in Course().labs
        for check in chapter.checks
        if check.points and not check.load and (chapter.number, check.name) not in caught
    ]
    assert not idle, "no mutant proves that these checks can fail: " + ", ".join(idle)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_fault_fits(mutant: Mutant) -> None:
    """Every fault can be planted, also those that are not drawn, and what it plants can be read."""
    text = (SOLUTION / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    if mutant.file.endswith(".py"):
        compile(text.replace(mutant.old, mutant.new), mutant.file, "exec", dont_inherit=True)
