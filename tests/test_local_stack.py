"""The stack without containers: up, broken, mended by itself, down, and nothing left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from grader.client import new_message
from grader.course import ROOT
from grader.ports import ReservedPort
from tests.compose.project import fetch, new_env, until, values_of


@dataclass
class Local:
    """A course of the test's own, with a stack that is up."""

    folder: Path
    said: str
    url: str
    env: dict[str, str]

    def processes(self) -> list[psutil.Process]:
        """Return what runs out of this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.folder) in " ".join([process.cwd(), *process.cmdline()]):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def make(verb: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "grader.stack_command", verb]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COURSE_HOME": str(folder / "home")}
    env.pop("COURSE_SERVICE", None)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400, check=False)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(ROOT / "solutions" / "service", folder / "labs" / "service")
    ports = [ReservedPort(), ReservedPort()]
    changed = {
        "API_REPLICAS": "2",
        "COMPOSE_PROFILES": "worker,monitoring",
        "READY_PATH": "/readyz",
        "LB_PORT": str(ports[0].number),
        "PROVIDER_PAGE_PORT": str(ports[1].number),
    }
    text = new_env() + "".join(f"{name}={value}\n" for name, value in changed.items())
    (folder / ".env").write_text(text)
    told = make("up", folder)
    try:
        assert told.returncode == 0, told.stdout + told.stderr
        yield Local(folder, told.stdout, f"http://127.0.0.1:{ports[0].number}", values_of(text))
    finally:
        make("down", folder)
        for port in ports:
            port.close()


def test_balancer_stands_before_two_replicas(local: Local) -> None:
    assert local.url in local.said
    until(lambda: len({fetch(f"{local.url}/livez")[1].get("x-served-by") for _ in range(6)}) == 2)
    key = {"X-API-Key": local.env["GRADE_API_KEYS"].split(",")[0].partition(":")[2]}
    body = {"message": new_message()}
    assert [fetch(f"{local.url}/chat", body, headers=key)[1]["x-cache"] for _ in range(3)] == ["MISS", "HIT", "HIT"]
    assert fetch(f"{local.url}/chat-async", body, headers=key)[0] == 202


def test_what_is_missing_is_said(local: Local) -> None:
    assert bool(shutil.which("prometheus")) is not ("Prometheus is not on the PATH" in local.said)


def test_second_start_is_refused(local: Local) -> None:
    told = make("up", local.folder)
    assert told.returncode == 2
    assert "is up already" in told.stdout


def test_replica_that_dies_is_started_again(local: Local) -> None:
    replicas = [process for process in local.processes() if "app.main:app" in process.cmdline()]
    victim = next(process for process in replicas if process.name().startswith(("python", "uvicorn")))
    victim.send_signal(signal.SIGKILL)
    assert fetch(f"{local.url}/livez")[0] == 200
    log = local.folder / "home" / "stack" / "stack.log"
    until(lambda: re.search(r"api-\d ended with -9; it is started again", log.read_text()))
    until(lambda: len({fetch(f"{local.url}/livez")[1].get("x-served-by") for _ in range(6)}) == 2)


def test_nothing_is_left(local: Local) -> None:
    before = local.processes()
    assert len(before) >= 5
    told = make("down", local.folder)
    assert (told.returncode, told.stdout) == (0, "The stack is down.\n")
    until(lambda: not local.processes())  # the last one is gone a moment after its lock
    assert make("down", local.folder).stdout == "The stack is not up.\n"
