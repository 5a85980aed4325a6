"""The soak's arithmetic: what is a flip, and what stays in its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.soak import Grading, flips, write

ONE = Grading(
    at="2026-01-02T03:04:05+00:00",
    code="abc",
    commit="1234567",
    beside="nothing of ours",
    load=False,
    average=1.5,
    subject="finished service",
    seconds=60.0,
    outcomes={"4 burst": "passed", "4 bucket": "passed"},
)
FAILED = replace(
    ONE, outcomes={"4 burst": "failed", "4 bucket": "passed"}, said={"4 burst": "31 of 30 passed."}, seed=9
)


def test_a_verdict_in_the_minority_is_a_flip() -> None:
    assert [(flip.check, flip.grading) for flip in flips([ONE, FAILED, ONE])] == [("4 burst", FAILED)]


def test_undecided_checks_and_other_code_do_not_flip() -> None:
    unsure = replace(ONE, outcomes={"4 burst": "inconclusive", "4 bucket": "skipped"})
    assert not flips([ONE, unsure, replace(FAILED, code="def"), replace(FAILED, subject="a mutant")])


def test_the_table_counts_and_keeps_what_others_have_counted(tmp_path: Path) -> None:
    document = tmp_path / "soak.md"
    before = "| 2025-12-31 | 7654321 | 2 busy loops | no | 9 | 1,234 | 0 | 0 | 0 | 4.0 |"
    document.write_text(f"# Soak\n\n<!-- soak -->\n\n{before}\n\n<!-- /soak -->\n\nAfterwards.\n", encoding="utf-8")
    write([ONE, ONE], document)
    write([ONE, ONE, FAILED], document)
    lines = document.read_text(encoding="utf-8").splitlines()
    assert before in lines
    assert "| 2026-01-02 | 1234567 | nothing of ours | no | 3 | 6 | 0 | 0 | 1 | 1.5 |" in lines
    (flip,) = [line for line in lines if line.startswith("- 2")]
    assert "31 of 30 passed." in flip
    assert "seed 9" in flip
    assert lines[0] == "# Soak"
    assert lines[-1] == "Afterwards."
