"""`grade --target`: what can be judged from outside is judged, what cannot is skipped, and a wrong target is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.course import ROOT
from grader.outside import DEFAULTS, SPANS, Target, TargetError
from tests.local import Local, opened

FOR_GRADING = {"RATE_LIMIT_REQUESTS": "30", "RATE_LIMIT_WINDOW_S": "600", "BREAKER_FAILURES": "1000"}
"""What README asks for."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with opened(tmp_path_factory.mktemp("place"), FOR_GRADING) as found:
        yield found


def grade(local: Local, *words: str, provider: bool = True) -> subprocess.CompletedProcess[str]:
    known = ["--provider", local.provider] if provider else []
    command = [str(Path(sys.executable).with_name("grade")), "--target", local.url, *known, "--format", "json", *words]
    env = {**os.environ, "COURSE_HOME": str(local.folder / "home")}
    return subprocess.run(command, cwd=local.folder, env=env, capture_output=True, text=True, check=False)


def checks(told: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for lab in json.loads(told.stdout)["labs"] for check in lab["checks"]}


def test_finished_service_fails_nothing_from_outside(local: Local) -> None:
    told = grade(local, "1", "2", "4", "6")
    found = checks(told)
    assert {name: check["message"] for name, check in found.items() if check["outcome"] in {"failed", "error"}} == {}
    assert told.returncode == 0, told.stderr
    outcomes = [check["outcome"] for check in found.values()]
    assert outcomes.count("passed") >= 30, outcomes
    assert "settings of its own" in found["settings_fail_fast"]["message"]


def test_without_the_ledger_nothing_is_guessed(local: Local) -> None:
    found = checks(grade(local, "2", provider=False))
    assert {check["outcome"] for check in found.values()} == {"skipped"}
    assert "--provider" in found["chat_answers"]["message"]


def test_lab_that_wants_other_settings_says_so(local: Local) -> None:
    assert "LLM_TIMEOUT_S=2" in checks(grade(local, "7"))["fallback_answers"]["message"]


def test_fault_is_found_from_outside(local: Local) -> None:
    main = local.folder / "labs" / "service" / "app" / "main.py"
    before = main.read_text()
    assert before.count('{"message": "Ask me something: POST /chat"}') == 1
    main.write_text(before.replace('{"message": "Ask me something: POST /chat"}', '{"greeting": "hello"}'))
    local.restart_replicas()
    told = grade(local, "1")
    assert told.returncode == 1
    assert {name for name, check in checks(told).items() if check["outcome"] == "failed"} == {"root_greets"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "http://127.0.0.1:1"], "Nobody answers"),
        (["--env-file", str(ROOT / ".env.example")], "refuses the callers"),
        (["--provider", "http://127.0.0.1:1"], "does not answer"),
        (["--target", "https://example.org"], "no address that can be graded"),
        (["--env-file", "nowhere"], "no file nowhere"),
    ],
)
def test_wrong_target_is_told(words: list[str], said: str, local: Local) -> None:
    told = grade(local, "1", *words)
    assert told.returncode == 2
    assert said in " ".join((told.stdout + told.stderr).split())


def test_defaults_are_those_of_the_contract() -> None:
    contract = (ROOT / "labs" / "CONTRACT.md").read_text().split("## Configuration")[1].split("\n## ")[0]
    for name, value in DEFAULTS.items():
        (row,) = [line for line in contract.splitlines() if line.startswith("|") and f"`{name}`" in line]
        assert f"`{value}`" in row or f" {value}" in row, row
    assert set(SPANS) <= set(DEFAULTS)


def test_replicas_and_callers_are_asked_for() -> None:
    callers = {"GRADE_API_KEYS": "user:one", "RATE_LIMIT_REQUESTS": "30"}
    assert Target.of("http://127.0.0.1:8080", callers, None).unfit({}) == ""
    assert "API_REPLICAS=1" in Target.of("http://127.0.0.1:8080", {**callers, "API_REPLICAS": "3"}, None).unfit({})
    with pytest.raises(TargetError, match="GRADE_API_KEYS"):
        Target.of("http://127.0.0.1:8080", {}, None)
