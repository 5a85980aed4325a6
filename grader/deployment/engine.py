"""A container engine, where one answers: the image is built, run, asked from outside, and stopped, for real."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ANSWER_LIMIT = 10.0
"""Seconds for the engine to say that it is there."""

BUILD_LIMIT = 900.0
"""Seconds for a build that installs everything anew."""

_NO_NETWORK = re.compile(
    r"failed to resolve source metadata|failed to do request|pull access denied|TLS handshake|i/o timeout|no such host"
    r"|Temporary failure in name resolution|Network is unreachable|Could not resolve"
    r"|Failed to establish a new connection|toomanyrequests|dial tcp",
)


class EngineError(Exception):
    """The engine did not do what it was asked; the message holds its last words."""


class NoNetworkError(EngineError):
    """A build failed for want of a network, which is not the Dockerfile's fault."""


@dataclass(frozen=True)
class Container:
    """A running container; `port` is where its port is published on 127.0.0.1."""

    engine: Engine
    name: str
    port: int

    def state(self) -> dict[str, object]:
        """Return what the engine says of its state: Running, ExitCode, OOMKilled …."""
        found = json.loads(self.engine.run("inspect", "--format", "{{json .State}}", self.name))
        return dict(found) if isinstance(found, dict) else {}

    def users(self) -> set[str]:
        """Return the numeric users of its processes."""
        lines = self.engine.run("top", self.name, "-eo", "uid,pid").splitlines()[1:]
        return {line.split()[0] for line in lines if line.split()}

    def log(self) -> list[str]:
        """Return what it wrote, the last lines."""
        return self.engine.run("logs", "--tail", "20", self.name).splitlines()

    def healthy(self) -> bool | None:
        """Run the image's own health check once, inside; None when the image has none."""
        found = json.loads(self.engine.run("inspect", "--format", "{{json .Config.Healthcheck}}", self.name))
        test = found.get("Test", []) if isinstance(found, dict) else []
        if test[:1] not in (["CMD"], ["CMD-SHELL"]):
            return None
        words = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", test[1]]
        return self.engine.succeeds("exec", self.name, *words)

    def stop(self, grace: int = 10) -> int:
        """Stop it as a deployment does; return the exit code (137: it was killed after `grace` seconds)."""
        self.engine.run("stop", "--time", str(grace), self.name, limit=grace + 30)
        code = self.state().get("ExitCode")
        return code if isinstance(code, int) else -1


@dataclass(frozen=True)
class Engine:
    """Docker, or what answers like it."""

    program: str
    version: str

    def run(self, *words: str, limit: float = 60.0) -> str:
        """Run a command of the engine and return what it says. Raises `EngineError`."""
        ended = _call([self.program, *words], limit)
        if ended is None or ended.returncode:
            said = "it did not answer in time" if ended is None else (ended.stderr or ended.stdout)[-1500:].strip()
            raise (NoNetworkError if _NO_NETWORK.search(said) else EngineError)(said)
        return f"{ended.stdout}{ended.stderr if words[0] == 'logs' else ''}".strip()

    def succeeds(self, *words: str, limit: float = 60.0) -> bool:
        """Whether a command ends with exit code 0."""
        ended = _call([self.program, *words], limit)
        return ended is not None and ended.returncode == 0

    @contextmanager
    def image(self, root: Path, target: str | None = None) -> Iterator[str]:
        """Build the image of a folder; it is removed at the end. Raises `EngineError`, `NoNetworkError`."""
        name = f"graded-{secrets.token_hex(6)}"
        stage = ["--target", target] if target else []
        try:
            self.run("build", "--tag", name, *stage, str(root), limit=BUILD_LIMIT)
            yield name
        finally:
            with suppress(EngineError):
                self.run("image", "rm", "--force", name)

    @contextmanager
    def container(self, image: str, env: Mapping[str, str], port: int) -> Iterator[Container]:
        """Run an image that is to listen on `port`; it is removed at the end. Raises `EngineError`."""
        name = f"graded-{secrets.token_hex(6)}"
        given = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
        try:
            self.run("run", "--detach", "--name", name, "--publish", f"127.0.0.1::{port}", *given, image)
            published = self.run("port", name, str(port)).splitlines()[0]
            yield Container(self, name, int(published.rpartition(":")[2]))
        finally:
            with suppress(EngineError):
                self.run("rm", "--force", "--volumes", name)


def find_engine(programs: Sequence[str] = ("docker", "podman")) -> Engine | None:
    """Return the first engine that answers."""
    for name in programs:
        program = shutil.which(name)
        asked = _call([program, "version", "--format", "{{.Server.Version}}"], ANSWER_LIMIT) if program else None
        if program and asked and asked.returncode == 0 and asked.stdout.strip():
            return Engine(program, f"{name} {asked.stdout.strip()}")
    return None


def _call(words: Sequence[str], limit: float) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
