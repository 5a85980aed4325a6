"""The Compose project of the tests: a copy of the course, an .env of its own, and the commands that speak to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from grader.course import ROOT
from grader.ports import ReservedPort

NAME = "workbook"
"""What docker-compose.yml calls the project."""

COMMAND_LIMIT = 900.0
"""Seconds for one command, a build that installs everything included."""

PORTS = ("JUPYTER_PORT", "LB_PORT", "PROVIDER_PAGE_PORT", "PROMETHEUS_PORT", "LOCUST_PORT", "GRAFANA_PORT")

Found = TypeVar("Found")


def values_of(text: str) -> dict[str, str]:
    """Read an env file as Compose does: one line a variable, single quotes around what is odd."""
    found = re.findall(r"^([A-Z_]+)=(?:'(.*)'|(.*))$", text, re.MULTILINE)
    return {name: quoted or plain for name, quoted, plain in found}


def new_env() -> str:
    """Make a fresh .env."""
    made = subprocess.run([sys.executable, "stack/new_env.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return made.stdout


def copy_course(to: Path) -> None:
    """Copy what a clone would hold, edits included, for the user of the containers."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "1000:1000", to], check=True)


@dataclass
class Project:
    """A running stack. `COMPOSE_EXTRA` names a further Compose file, for engines that need one."""

    folder: Path
    name: str
    changes: Mapping[str, str]
    env: dict[str, str] = field(default_factory=dict)
    timings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ports = [ReservedPort() for _ in PORTS]
        for name, port in zip(PORTS, self._ports, strict=True):
            self.env[name] = str(port.number)
        text = new_env() + "".join(f"{name}='{value}'\n" for name, value in {**self.changes, **self.env}.items())
        (self.folder / ".env").write_text(text)
        self.env = values_of(text)

    def url(self, port: str, path: str = "") -> str:
        """Give the address of a published port, by the variable that names it."""
        return f"http://127.0.0.1:{self.env[port]}{path}"

    def compose(self, *words: str, check: bool = True) -> str:
        """Run `docker compose` and return what it prints."""
        return self._run([*self._command(), *words], check=check)

    def _command(self) -> list[str]:
        files = [str(self.folder / "docker-compose.yml"), os.environ.get("COMPOSE_EXTRA", "")]
        chosen = [word for file in files if file for word in ("--file", str(Path(file).absolute()))]
        return ["docker", "compose", "--project-directory", str(self.folder), *chosen]

    @contextmanager
    def watching(self, service: str) -> Iterator[None]:
        """Let `docker compose watch` look after a service meanwhile."""
        log = self.folder / "watch.log"
        command = [*self._command(), "watch", "--no-up", service]
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=self.folder, env=self._env(), stdout=output, stderr=output)
        try:
            until(lambda: "enabled" in log.read_text().lower() or "watching" in log.read_text().lower())
            yield
        finally:
            process.terminate()
            process.wait(60)

    def docker(self, *words: str, check: bool = True) -> str:
        """Run `docker` and return what it prints."""
        return self._run(["docker", *words], check=check)

    def _env(self) -> dict[str, str]:
        return {**os.environ, "COMPOSE_PROJECT_NAME": self.name, "COMPOSE_PROFILES": "", "BUILDKIT_PROGRESS": "plain"}

    def _run(self, command: list[str], *, check: bool) -> str:
        ended = subprocess.run(
            command,
            env=self._env(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_LIMIT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and ended.returncode:
            raise AssertionError(f"{' '.join(command[:6])} … ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
        return ended.stdout

    def container(self, service: str, number: int = 1) -> str:
        """Give the name of a container."""
        return f"{self.name}-{service}-{number}"

    def inspect(self, container: str) -> dict[str, Any]:
        """Return all that the engine knows of a container."""
        (found,) = json.loads(self.docker("inspect", container))
        return dict(found)

    def health(self) -> dict[str, str]:
        """Return state and health of every container of the project, by container name."""
        lines = self.compose("--profile", "*", "ps", "--all", "--format", "json").splitlines()
        rows = [json.loads(line) for line in lines]
        return {row["Name"]: row["Health"] or row["State"] for row in rows}

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Note how long something took."""
        started = time.monotonic()
        yield
        self.timings.append(f"{what} {time.monotonic() - started:.1f} s")

    def end(self) -> None:
        """Remove containers, networks, volumes; images stay for the next run."""
        with self.timed("down"):
            self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        for port in self._ports:
            port.close()


def fetch(
    url: str, payload: object = None, *, headers: Mapping[str, str] | None = None
) -> tuple[int, httpx.Headers, bytes]:
    """Send a GET, or a POST of JSON; return status, headers and body."""
    method = "GET" if payload is None else "POST"
    answer = httpx.request(method, url, json=payload, headers=headers, timeout=20.0)
    return answer.status_code, answer.headers, answer.content


def until(found: Callable[[], Found], within: float = 240.0) -> Found:
    """Ask until there is something true to return; raise AssertionError with the last answer when there never is."""
    end = time.monotonic() + within
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:.0f} s; the last answer was {answer!r}")
        time.sleep(0.2)
