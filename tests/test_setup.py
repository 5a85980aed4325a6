"""Set-up: the first two commands, the lock behind them, and what CI runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from grader import bootstrap, cli
from grader.bootstrap import Trouble, Venv
from grader.course import ROOT

TARGETS = {"setup", "lab", "grade", "test", "lint", "types", "bench", "stack-up", "stack-down", "clean", "help"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def make(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    ours = ("MAKE", "MFLAGS", "ARGS", "LABS", "SERVICE", "PYTHON")  # `make test ARGS=…` hands them on
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(["make", *words], cwd=cwd, env=env, check=False, capture_output=True, text=True)


def targets() -> set[str]:
    return {
        target for line in re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE) for target in line.split()
    }


class TestMakefile:
    def test_has_the_targets_that_the_course_speaks_of(self) -> None:
        assert targets() >= TARGETS

    def test_help_explains_every_target(self) -> None:
        explained = set(re.findall(r"^  make ([a-z-]+) +\S", make("help").stdout, re.MULTILINE))
        assert explained == targets() - {"help"}

    def test_hands_labs_service_and_options_to_grade(self) -> None:
        last = make("-n", "grade", "LABS=3 4", "SERVICE=my service", "ARGS=--hint").stdout.splitlines()[-1]
        assert last == '.venv/bin/grade 3 4 --service "my service" --hint'

    def test_grades_the_learners_service_when_nothing_is_said(self) -> None:
        assert make("-n", "grade").stdout.splitlines()[-1].split() == [".venv/bin/grade", "--service", '"labs/service"']

    def test_says_what_to_install_when_the_python_is_too_old(self, tmp_path: Path) -> None:
        checkout(tmp_path)
        told = make("setup", "PYTHON=/bin/false", cwd=tmp_path)
        assert told.returncode == 2
        assert "/bin/false is not a Python 3.11 to 3.14" in told.stderr

    def test_documents_name_only_targets_and_commands_that_exist(self) -> None:
        for name in ("README.md", "CONTRIBUTING.md", "labs/README.md", "CHANGELOG.md"):
            text = read(name)
            assert {word for words in re.findall(r"`make ([^`]*)`", text) for word in words.split()[:1]} <= (
                targets() | {"PYTHON=python3.13"}
            )
            assert set(re.findall(r"(?:bin/|`)course ([a-z][a-z-]*)", text)) <= set(cli.COURSE), name


class TestLock:
    def test_pins_every_package_with_hashes(self) -> None:
        for block in re.split(r"\n(?=\S)", read("requirements.lock").strip()):
            assert re.match(r"[a-z0-9-]+==\S+( ;.*)? \\\n", block), block[:80]
            assert "--hash=sha256:" in block

    def test_names_no_index(self) -> None:
        assert not re.search(r"https?://|index-url|find-links", read("requirements.lock"))

    def test_satisfies_what_the_project_asks_for(self) -> None:
        project = tomllib.loads(read("pyproject.toml"))
        locked: dict[str, list[str]] = {}
        for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", read("requirements.lock"), re.MULTILINE):
            locked.setdefault(name, []).append(version)
        wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
        wanted += project["build-system"]["requires"]
        for requirement in map(Requirement, wanted):
            versions = locked.get(canonicalize_name(requirement.name), [])
            assert any(requirement.specifier.contains(version) for version in versions), requirement

    def test_knows_the_installers_themselves(self) -> None:
        for name in ("uv", "pip", "hatchling", "editables"):
            assert "--hash=sha256:" in bootstrap.pinned(read("requirements.lock"), name)

    def test_gives_the_lines_of_one_package_only(self) -> None:
        uv = "uv==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        lock = f"{uv}    # via the workbook\nuvicorn==2.0 \\\n    --hash=sha256:cc\n"
        assert bootstrap.pinned(lock, "uv") == uv
        with pytest.raises(Trouble, match="does not pin uvloop"):
            bootstrap.pinned(lock, "uvloop")


def checkout(folder: Path) -> None:
    """Make a folder look like a checkout to `make`."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "grader").mkdir()
    (folder / "grader" / "bootstrap.py").symlink_to(ROOT / "grader" / "bootstrap.py")


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    """An environment that a set-up has just opened, in a folder with a space in its name."""
    root = tmp_path / "a course"
    root.mkdir()
    venv = Venv(root, ".ready-1")
    venv.open(None)
    return venv


class TestVenv:
    def test_is_ready_once_closed(self, venv: Venv) -> None:
        assert not venv.is_ready()
        venv.close()
        assert venv.is_ready()
        assert venv.is_sound(None)

    def test_is_made_anew_after_an_interruption(self, venv: Venv) -> None:
        (venv.folder / "half-written").touch()
        assert not venv.is_sound(None)
        venv.open(None)
        assert not (venv.folder / "half-written").exists()

    def test_is_updated_in_place_when_only_the_lock_changes(self, venv: Venv) -> None:
        venv.close()
        (venv.folder / "of-the-learner").touch()
        later = Venv(venv.root, ".ready-2")
        assert not later.is_ready()
        later.open(None)
        later.close()
        assert (venv.folder / "of-the-learner").exists()
        assert [stamp.name for stamp in venv.folder.glob(".ready-*")] == [".ready-2"]

    def test_is_made_anew_where_the_checkout_has_moved(self, venv: Venv) -> None:
        venv.close()
        moved = venv.root.rename(venv.root.with_name("elsewhere"))
        assert not Venv(moved, ".ready-2").is_sound(None)

    def test_keeps_its_python_unless_another_is_asked_for(self, venv: Venv, tmp_path: Path) -> None:
        venv.close()
        other = tmp_path / "python"
        other.write_text("#!/bin/sh\necho /usr/bin/another\n")
        other.chmod(0o755)
        assert venv.is_sound(sys.executable)
        assert not venv.is_sound(str(other))

    def test_is_made_anew_when_its_python_is_gone(self, venv: Venv) -> None:
        venv.close()
        venv.python.unlink()
        assert not venv.is_sound(None)


class TestInstalling:
    def test_says_what_helps_where_there_is_no_pip(self, venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Venv, "pip", lambda _: None)
        monkeypatch.setattr(Venv, "uv", lambda _: None)
        with pytest.raises(Trouble, match="sudo apt install python3-venv"):
            bootstrap.install(venv)

    def test_takes_pip_where_uv_fails(
        self, venv: Venv, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        venv.lock.write_text("uv==1.0 \\\n    --hash=sha256:aa\n")
        record = venv.root / "record"
        monkeypatch.setattr(Venv, "uv", lambda _: ["false"])
        monkeypatch.setattr(Venv, "pip", lambda _: ["sh", "-c", f'echo "$@" >> "{record}"', "pip"])
        bootstrap.install(venv)
        assert [line.split()[0] for line in record.read_text().splitlines()] == ["--no-deps", "--no-deps"]
        assert "Trying pip" in capfd.readouterr().err

    def test_gives_up_with_a_sentence(self, venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
        venv.lock.write_text("")
        monkeypatch.setattr(Venv, "uv", lambda _: ["false"])
        monkeypatch.setattr(Venv, "pip", lambda _: ["false"])
        with pytest.raises(Trouble, match="Is the network there"):
            bootstrap.install(venv)

    def test_does_without_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        uv = tmp_path / "uv"
        uv.write_text("#!/bin/sh\necho /dev/null/cache\n")
        uv.chmod(0o755)
        assert bootstrap.cached([str(uv), "pip"]) == [str(uv), "pip", "--no-cache"]
        uv.write_text(f"#!/bin/sh\necho '{tmp_path}/cache'\n")
        assert bootstrap.cached([str(uv), "pip"]) == [str(uv), "pip"]

    def test_keeps_settings_that_lead_elsewhere_from_the_installers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_TARGET", "elsewhere")
        monkeypatch.setenv("UV_INDEX", "https://mirror.example")
        assert "PIP_TARGET" not in bootstrap.environment()
        assert bootstrap.environment()["UV_INDEX"] == "https://mirror.example"


class TestReadme:
    def test_begins_with_the_two_commands(self) -> None:
        first = re.search(r"```console\n(.*?)```", read("README.md"), re.DOTALL)
        assert first
        assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make grade", "make lab"]

    def test_shows_a_report_next(self) -> None:
        report = re.search(r"```text\n\$ make grade LABS=4\n(.*?)```", read("README.md"), re.DOTALL)
        assert report
        assert report.start() < read("README.md").index("\n## ")
        assert {"FAIL", "pass", "sent", "got", "log", "read"} <= set(report[1].split())
        assert len(report[1].splitlines()) <= 35


class TestCi:
    def test_runs_strictly_and_ends_with_the_tests(self) -> None:
        script = read(".ci/run")
        assert script.startswith("#!/usr/bin/env bash\n")
        assert "set -euo pipefail" in script
        assert script.rstrip().splitlines()[-1] == "exec make -s test"
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
        assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=False).returncode == 0

    def test_the_workflow_runs_the_same(self) -> None:
        workflow = read(".github/workflows/ci.yml")
        assert "run: bash .ci/run" in workflow
        for action in re.findall(r"uses: (\S+)", workflow):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action


def test_the_licence_is_mit() -> None:
    assert read("LICENSE").startswith("MIT License\n")
    assert "The workbook's contributors" in read("LICENSE")
