"""`course prove`: what it runs, what it says, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.course import ROOT
from grader.prove import KINDS

PROVE = [sys.executable, "-c", "import sys; from grader.cli import course; sys.exit(course(['prove', *sys.argv[1:]]))"]

WATCHED = """
import sys
import pytest
from grader.prove import Proof

if __name__ == "__main__":
    proof = Proof()
    options = ["-pno:terminal", "-pno:cacheprovider", "--disable-plugin-autoload", "-pxdist.plugin", "-c/dev/null"]
    sys.exit(proof.finish(pytest.main([*options, "-n1", "--rootdir=.", *sys.argv[1:]], plugins=[proof])))
"""
"""The command's own eyes, on laws of ours."""

LAWS = """
import pathlib, time
import pytest

@pytest.mark.parametrize("fault", ["one", "two"])
def test_mutant(fault):
    assert fault == "one", f"{fault} is a fault, to be caught by nobody"

def test_that_waits():
    pathlib.Path("begun").touch()
    time.sleep(600)
"""


def watched(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "watched.py").write_text(WATCHED, encoding="utf-8")
    (folder / "test_mutants.py").write_text(LAWS, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    return subprocess.Popen(
        [sys.executable, "watched.py", "test_mutants.py", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_what_gets_through_is_told(tmp_path: Path) -> None:
    process = watched(tmp_path, "-k", "test_mutant and not waits")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "two is a fault, to be caught by nobody\n    again: course prove mutants --only two" in output
    assert output.splitlines()[-1].startswith("1 of 2 faults caught (")


def test_all_is_well(tmp_path: Path) -> None:
    process = watched(tmp_path, "-k", "one")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert output.splitlines()[-1].startswith("1 of 1 faults caught (")


def test_an_interrupted_proof_tells_what_was_done(tmp_path: Path) -> None:
    process = watched(tmp_path, "-k", "one or waits")
    try:
        begun, deadline = tmp_path / "begun", time.monotonic() + 120
        while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, output
    assert "interrupted: 1 of 2 faults caught (" in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing"], 2, "'nothing' is none of mutants, conforming"),
        (["--help"], 0, "cheats"),
        (["hostile", "--only", "no such name"], 2, "nothing was proved"),
    ],
)
def test_words(words: list[str], code: int, said: str) -> None:
    done = subprocess.run([*PROVE, *words], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    files = [f"tests/test_{kind}.py" for kind in KINDS]
    listing = [sys.executable, "-m", "pytest", *files, "-q", "--collect-only", "-m", "law", "--sample=9"]
    drawn = []
    for seed in ("a", "a", "b"):
        done = subprocess.run([*listing, f"--seed={seed}"], capture_output=True, text=True, cwd=ROOT, check=True)
        drawn.append([line for line in done.stdout.splitlines() if "::" in line])
    assert drawn[0] == drawn[1] != drawn[2]
    assert {line.partition("::")[0] for line in drawn[0]} == set(files), "at least one of each kind"
