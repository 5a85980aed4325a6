from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from grader import cli
from tests.fake_runner import environment, program

HEAVY = {"fastapi", "httpx", "pytest", "rich", "asyncio", "sqlite3", "numpy", "grader.runner"}

pytestmark = pytest.mark.usefixtures("place")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from grader import cli\ntry: cli.grade(['-h'])\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    assert not HEAVY & {name for name in done.stderr.split() if name in HEAVY}
    assert "rate_limiting" in done.stdout
    assert "doctor" in done.stdout
    assert "exit code" in done.stdout


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, b"interrupted\n"), (signal.SIGTERM, 143, b"")]
)
def test_interrupted(number: signal.Signals, code: int, said: bytes, place: Path) -> None:
    # signal.pause() would miss a signal that comes just before.
    body = "import time; print('waiting', flush=True); any(time.sleep(0.05) for _ in iter(int, 1))"
    process = subprocess.Popen(
        program("1", body=body), env=environment(), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err) == (code, b"", said)


@pytest.mark.parametrize("format_", ["terminal", "json", "html"])
def test_nobody_reads_on(format_: str, place: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        program("1", "--format", format_),
        env=environment(),
        cwd=place,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)

    assert done.returncode == 141
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_course_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.course(["--help"]) == 0
    assert cli.course([]) == 2
    said = capsys.readouterr().out

    assert all(name in said for name in cli.COURSE)


def test_course_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.course(["fly"]) == 2
    assert capsys.readouterr().err.startswith("course: there is no command fly; choose from serve, ")


def test_course_passes_on_what_stands_after_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("grader.course_commands")
    module.catch_up = lambda arguments: 7 if arguments == ["3", "--force"] else 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "grader.course_commands", module)

    assert cli.course(["catch-up", "3", "--force"]) == 7


def test_a_command_that_is_not_built_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COURSE, "later", cli.Command("grader.not_there", "later", ""))

    assert cli.course(["later"]) == 2
    assert capsys.readouterr().err == "course: this command is not built yet\n"
