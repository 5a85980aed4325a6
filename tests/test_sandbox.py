"""The sandbox: what a stranger's process tries and does not get, and that everybody else works inside."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from grader import sandbox
from grader.course import CHECKS
from grader.report import OWN_MACHINE, Outcome
from grader.runner import grade
from grader.sandbox import CannotIsolateError, Sandbox
from grader.service import SHARE, base_environment
from grader.supervisor import Supervisor
from tests.endings import DAEMON
from tests.grading import SOLUTION, Quiet, failures
from tests.hostile import WELL, Hostile
from tests.test_hostile import in_a_run

ATTACKS = """
import ctypes, json, os, signal, socket, sys
known = json.load(open("known.json"))

def read(path):
    return open(path, "rb").read(1)

def write(path):
    open(path, "a").close()

def connect(*kind, port=known["control"], flags=0):
    with socket.socket(*kind) as ours:
        if flags:
            ours.sendto(b"POST /", flags, ("127.0.0.1", port))
        else:
            ours.connect(("127.0.0.1", port))

def talk(address):
    with socket.socket(socket.AF_UNIX) as ours:
        ours.settimeout(3)
        ours.connect(address)

def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, 0, 0):  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, 0x40000000)
    libc.ptrace(17, pid, 0, 0)

def beside(path):
    assert os.path.basename(path) in os.listdir(os.path.dirname(path))

ATTACKS = {
    "read the checks": lambda: read(known["checks"]),
    "list the grader": lambda: os.listdir(os.path.dirname(known["checks"])),
    "read another submission": lambda: read(known["other"]),
    "see another submission": lambda: beside(known["other"]),
    "read the home folder": lambda: read(known["home"]),
    "change the home folder": lambda: open(known["home"], "r+").close(),
    "change a report": lambda: open(known["report"], "r+").close(),
    "read the passwords": lambda: read("/etc/shadow"),
    "change the packages": lambda: write(known["packages"]),
    "change the kernel": lambda: open("/proc/sys/kernel/core_pattern", "a").close(),
    "read the grader's environment": lambda: read(f"/proc/{known['grader']}/environ"),
    "read the grader's arguments": lambda: read(f"/proc/{known['grader']}/cmdline"),
    "read the grader's memory": lambda: open(f"/proc/{known['grader']}/mem", "rb").close(),
    "signal the grader": lambda: os.kill(known["grader"], 0),
    "signal a process of another run": lambda: os.kill(known["neighbour"], signal.SIGUSR1),
    "trace a process of another run": lambda: trace(known["neighbour"]),
    "reach the control port": lambda: connect(socket.AF_INET, socket.SOCK_STREAM),
    "reach it by multipath": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, 262),
    "reach it by sending": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, flags=0x20000000),
    "send a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "talk to a daemon by its path": lambda: talk(known["path"]),
    "talk to a daemon by its name": lambda: talk(known["name"]),
}
WORK = {
    "write into its folder": lambda: write("made-by-me"),
    "write into its home": lambda: write(os.environ["HOME"] + "/note"),
    "reach Redis": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, port=known["redis"]),
    "look up this machine": lambda: socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM),
    "see itself": lambda: read("/proc/self/status"),
    "draw lots": lambda: read("/dev/urandom"),
    "share memory": lambda: __import__("multiprocessing").Semaphore(1),
    "import packages": lambda: __import__("sqlalchemy"),
    "start a program": lambda: __import__("subprocess").run(["sh", "-c", "true"], check=True),
}

def outcome(attempt):
    try:
        attempt()
    except Exception as error:
        return type(error).__name__
    return "done"

def all_outcomes():
    return {name: outcome(attempt) for name, attempt in (ATTACKS | WORK).items()}
"""
"""What a hostile submission tries, and what a good one must be able to do. Every attack works without a sandbox."""

REPORT_BACK = f"{ATTACKS}\nif __name__ == '__main__':\n    print(json.dumps(all_outcomes()), flush=True)\n"

COUNT = 22
"""How many of the outcomes are those of attacks."""

NEEDS_ROOT = {
    "read the passwords",
    "change the kernel",
    "read the grader's memory",  # this and the next one because of Yama, ptrace(2)
    "trace a process of another run",
}
"""Attacks that only root's own processes can succeed with, sandbox or not."""


def walls(kind: str, directory: Path) -> Sandbox:
    """A sandbox with namespaces or without; skips where the machine has none of the kind."""
    try:
        best = Sandbox.at(directory)
    except CannotIsolateError as cannot:
        pytest.skip(str(cannot))
    if kind == "namespaces" and not best.root:
        pytest.skip("namespaces are not granted here")
    return best if kind == "namespaces" else replace(best, root="")


@pytest.fixture
def known(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Things that must not be found, and where they are."""
    with ExitStack() as ending:
        control, redis = (ending.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        path, name = (ending.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        path.bind(str(tmp_path / "daemon"))
        name.bind(f"\0sandbox-{os.getpid()}")
        for one in (path, name):
            one.listen()
        for file in ("others/main.py", "home/diary", "report.json"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        neighbour = ending.enter_context(Supervisor()).spawn(
            [sys.executable, "-c", "import signal, time; signal.signal(10, print); time.sleep(300)"],
            env={},
            cwd=tmp_path,
            log=tmp_path / "neighbour.log",
        )
        yield {
            "checks": str(CHECKS / "lab_01_architecture.py"),
            "other": str(tmp_path / "others" / "main.py"),
            "home": str(tmp_path / "home" / "diary"),
            "report": str(tmp_path / "report.json"),
            "packages": f"{Path(pytest.__file__).parents[1]}/sitecustomize.txt",
            "grader": os.getpid(),
            "neighbour": neighbour.pid,
            "control": control.getsockname()[1],
            "redis": redis.getsockname()[1],
            "path": str(tmp_path / "daemon"),
            "name": f"\0sandbox-{os.getpid()}",
        }
        Path(f"{Path(pytest.__file__).parents[1]}/sitecustomize.txt").unlink(missing_ok=True)


def tried(known: dict[str, object], tmp_path: Path, inside: Sandbox | None) -> dict[str, str]:
    """Let a program try everything, and return what came of it."""
    folder, home = tmp_path / "submission", tmp_path / "its-home"
    for each in (folder, home):
        each.mkdir()
    (folder / "known.json").write_text(json.dumps(known))
    (folder / "attack.py").write_text(REPORT_BACK)
    env = base_environment(home) | {"REDIS_URL": f"redis://127.0.0.1:{known['redis']}/0"}
    with Supervisor(sandbox=inside) as supervisor:
        log = tmp_path / "attack.log"
        process = supervisor.spawn([sys.executable, "attack.py"], env=env, cwd=folder, log=log, limits=SHARE)
        assert process.wait(60) == 0, log.read_text()
    found: dict[str, str] = json.loads(log.read_text().splitlines()[-1])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox but on Linux")
def test_every_attack_works_without_a_sandbox(known: dict[str, object], tmp_path: Path) -> None:
    outcomes = tried(known, tmp_path, None)
    if os.getuid():
        outcomes = {name: outcome for name, outcome in outcomes.items() if name not in NEEDS_ROOT}
    unsupported = {"OSError"} if outcomes["reach it by multipath"] == "OSError" else set()  # a kernel without MPTCP
    failed = {name: outcome for name, outcome in outcomes.items() if outcome not in {"done", *unsupported}}
    assert not failed


@pytest.mark.parametrize("kind", ["namespaces", "landlock alone"])
def test_every_attack_is_refused(kind: str, known: dict[str, object], tmp_path: Path) -> None:
    outcomes = list(tried(known, tmp_path, walls(kind, tmp_path)).items())
    attacks, work = outcomes[:COUNT], outcomes[COUNT:]
    assert len(work) == 9
    assert not [name for name, outcome in attacks if outcome == "done"]
    assert not [(name, outcome) for name, outcome in work if outcome != "done"]


SPY = Hostile(
    "spy",
    f"""{ATTACKS}
if "done" in list(all_outcomes().values())[:{COUNT}]:
    os._exit(7)
for pid in filter(None, (1, os.getppid())):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
if not os.fork():
    os.execv(sys.executable, [sys.executable, "-c", {DAEMON!r}])
{WELL}""",
)
"""Ends at once when one attack succeeds; leaves a daemon."""


@pytest.mark.parametrize("kind", ["namespaces", "landlock alone"])
def test_a_hostile_submission_is_graded_to_the_end(
    kind: str, known: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "probe").mkdir()
    walls(kind, tmp_path / "probe")
    if kind != "namespaces":
        monkeypatch.setattr(sandbox, "_works", lambda _attempt: False)
    folder = tmp_path / "spy"
    folder.mkdir()
    replace(SPY, files={"known.json": json.dumps(known)}).write(folder)
    report = grade(folder, [1], seed=1, load=False, jobs=0, progress=Quiet(), isolate=True)
    passed = {check.name for check in report.checks if check.outcome is Outcome.PASSED}
    assert {"root_greets", "health_says_healthy"} <= passed, failures(report)
    assert all(check.outcome is not Outcome.ERROR for check in report.checks)
    assert ("namespaces" in report.guards["isolation"]) == (kind == "namespaces")
    assert (tmp_path / "report.json").read_text() == ""
    assert not [process.pid for process in psutil.process_iter() if in_a_run(process)]


def test_a_run_on_the_own_machine_says_so(tmp_path: Path) -> None:
    Hostile("good", WELL).write(tmp_path)
    report = grade(tmp_path, [1], seed=1, load=False, jobs=0, progress=Quiet(), only={"root_greets"})
    assert report.guards == {"isolation": OWN_MACHINE}


def test_the_finished_service_works_inside(tmp_path: Path) -> None:
    walls("landlock alone", tmp_path)
    report = grade(SOLUTION, [1, 3], seed=1, load=False, jobs=0, progress=Quiet(), isolate=True)
    assert report.outcome is Outcome.PASSED, failures(report)


def test_a_machine_that_cannot_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("grader.landlock.version", lambda: 3)
    with pytest.raises(CannotIsolateError, match="needs Linux 6"):
        Sandbox.at(tmp_path)


def test_without_namespaces_signals_must_be_kept_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("grader.landlock.version", lambda: 4)
    monkeypatch.setattr(sandbox, "_works", lambda _attempt: False)
    monkeypatch.setattr("grader.seccomp.supported", lambda: True)
    with pytest.raises(CannotIsolateError, match="and namespaces or"):
        Sandbox.at(tmp_path)


def test_a_grader_among_the_packages_stays_hidden(tmp_path: Path) -> None:
    for name in ("packages/grader/checks.py", "packages/redis/__init__.py", "bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shown = sandbox._without(tmp_path, tmp_path / "packages" / "grader")
    assert shown == [tmp_path / "bin", tmp_path / "packages" / "redis"]
