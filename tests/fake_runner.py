"""A runner that gives the rich example instead of grading, in this process or in one of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from grader.report import Report

ROOT = Path(__file__).parent.parent

Grade = Callable[..., Report]


def use_runner(monkeypatch: pytest.MonkeyPatch, grade: Grade) -> None:
    module = ModuleType("grader.runner")
    module.grade = grade  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "grader.runner", module)
    monkeypatch.setattr("grader.runner", module, raising=False)


def refuse(message: BaseException) -> Grade:
    def grade(*_: Any, **__: Any) -> Report:
        raise message

    return grade


FAKE = """
import sys
from types import ModuleType
import grader
from tests import examples

def grade(submission, labs, *, progress, **options):
    {body}
    report = examples.rich()
    for lab in report.labs:
        progress.lab_started(lab.number, lab.slug, lab.title, len(lab.checks))
        for result in lab.checks:
            progress.check_finished(result)
    progress.finished(report)
    return report

runner = ModuleType("grader.runner")
runner.grade = grade
sys.modules["grader.runner"] = grader.runner = runner
from grader.cli import grade as command
sys.exit(command(sys.argv[1:]))
"""


def program(*arguments: str, body: str = "pass") -> list[str]:
    """Give the command line of a `grade` whose runner does `body` first."""
    return [sys.executable, "-c", FAKE.format(body=body), *arguments]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}
