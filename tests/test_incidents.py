"""Law: each incident's proof refuses the fault and plausible wrong mends, and takes every right one."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.bench import Bench
from grader.incidents.catalogue import INCIDENTS, named
from grader.incidents.command import TOOLS
from grader.incidents.incident import Incident
from grader.incidents.plan import Plan
from grader.incidents.proof import Proof, prove
from grader.submission import Submission
from tests.grading import SOLUTION, Grading
from tests.incident_mends import MENDS, Mend

SEED = os.environ.get("INCIDENTS_SEED") or os.environ.get("MUTANTS_SEED", "0")


def drawn() -> list[str]:
    """As many incidents as `INCIDENTS` says (or "all"), drawn by `INCIDENTS_SEED`: CI draws others every day."""
    wanted = os.environ.get("INCIDENTS") or "3"
    number = len(INCIDENTS) if wanted == "all" else min(int(wanted), len(INCIDENTS))
    return sorted(random.Random(SEED).sample([incident.name for incident in INCIDENTS], number))


DRAWN = drawn()
NOT_DRAWN = pytest.mark.skip(reason=f"seed {SEED} has drawn {', '.join(DRAWN)}; INCIDENTS=all takes all")


def if_drawn(name: str) -> tuple[pytest.MarkDecorator, ...]:
    return () if name in DRAWN else (NOT_DRAWN,)


@pytest.fixture(scope="module")
def bench(grading: Grading) -> Iterator[Bench]:
    """Servers that all proofs share, one after another."""
    with grading.workshop.bench(Submission.at(SOLUTION), "incidents") as shared:
        yield shared


def proof_of(incident: Incident, bench: Bench, folder: Path, mend: Mend | None = None) -> Proof:
    incident.build(folder)
    if mend:
        mend.apply(folder)
    found = prove(incident, folder, bench)
    if found.outcome == "inconclusive":  # a busy machine may be in the way once
        found = prove(incident, folder, bench)
    return found


@pytest.mark.parametrize(
    "incident", [pytest.param(each, id=each.name, marks=if_drawn(each.name)) for each in INCIDENTS]
)
def test_the_fault_fails_its_proof(incident: Incident, bench: Bench, tmp_path: Path) -> None:
    found = proof_of(incident, bench, tmp_path)
    assert found.outcome == "not mended", found.message


@pytest.mark.parametrize(
    "mend",
    [pytest.param(each, id=f"{each.incident}: {each.what}", marks=if_drawn(each.incident)) for each in MENDS],
)
def test_right_mends_pass_and_wrong_ones_fail(mend: Mend, bench: Bench, tmp_path: Path) -> None:
    found = proof_of(named(mend.incident), bench, tmp_path, mend)
    assert found.outcome == ("mended" if mend.right else "not mended"), found.message


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.name)
def test_fault_fits(incident: Incident, tmp_path: Path) -> None:
    """Every fault can be planted, also those that are not drawn, and what it plants can be read."""
    incident.build(tmp_path)
    Plan.read(tmp_path)
    for edit in incident.edits:
        if edit.file.endswith(".py"):
            compile((tmp_path / edit.file).read_text(encoding="utf-8"), edit.file, "exec", dont_inherit=True)


@pytest.mark.parametrize("mend", MENDS, ids=lambda mend: f"{mend.incident}: {mend.what}")
def test_mend_fits(mend: Mend, tmp_path: Path) -> None:
    named(mend.incident).build(tmp_path)
    mend.apply(tmp_path)
    Plan.read(tmp_path)
    for edit in mend.edits:
        if edit.file.endswith(".py"):
            compile((tmp_path / edit.file).read_text(encoding="utf-8"), edit.file, "exec", dont_inherit=True)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.name)
def test_what_an_incident_says(incident: Incident) -> None:
    story = incident.story
    assert story.cause in story.causes
    assert len(story.causes) >= 4
    assert len(story.hints) >= 2
    assert set(story.tools) <= set(TOOLS)
    assert incident.promise.endswith(".")
    assert story.cause not in story.page.format(began="14:05", now="14:12")
    mends = [mend for mend in MENDS if mend.incident == incident.name]
    assert any(mend.right for mend in mends)
    assert any(not mend.right for mend in mends), "no plausible wrong mend proves that the proof can refuse"
