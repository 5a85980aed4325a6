"""A stack without containers (`make stack-up`) in a folder of a test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from grader.course import ROOT
from grader.ports import ReservedPort
from tests.compose.project import fetch, new_env, until, values_of


@dataclass
class Local:
    """A course of the test's own, with a stack that is up."""

    folder: Path
    said: str
    url: str
    provider: str
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

    def replicas(self) -> list[psutil.Process]:
        """Return the processes of the service."""
        return [process for process in self.processes() if "app.main:app" in process.cmdline()]

    def restart_replicas(self) -> None:
        """Kill them; the stack starts them again."""
        old = {process.pid for process in self.replicas()}
        for process in self.replicas():
            process.send_signal(signal.SIGKILL)
        until(lambda: {each.pid for each in self.replicas()} - old and fetch(f"{self.url}/livez")[0] == 200)


def make(verb: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Do `make stack-VERB` for a folder."""
    command = [sys.executable, "-P", "-m", "grader.stack_command", verb]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COURSE_HOME": str(folder / "home")}
    env.pop("COURSE_SERVICE", None)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400, check=False)


@contextlib.contextmanager
def opened(folder: Path, changes: Mapping[str, str]) -> Iterator[Local]:
    """Start a stack around the finished service, and end it."""
    shutil.copytree(ROOT / "solutions" / "service", folder / "labs" / "service")
    ports = [ReservedPort(), ReservedPort()]
    balancer, page = (port.number for port in ports)
    changed = {"READY_PATH": "/readyz", "LB_PORT": str(balancer), "PROVIDER_PAGE_PORT": str(page), **changes}
    text = new_env() + "".join(f"{name}={value}\n" for name, value in changed.items())
    (folder / ".env").write_text(text)
    told = make("up", folder)
    try:
        assert told.returncode == 0, told.stdout + told.stderr
        yield Local(folder, told.stdout, f"http://127.0.0.1:{balancer}", f"http://127.0.0.1:{page}", values_of(text))
    finally:
        make("down", folder)
        for port in ports:
            port.close()
