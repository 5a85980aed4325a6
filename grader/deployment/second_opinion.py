"""Second opinions: what the field's own linters say of the files, where they are installed. They decide nothing.

A tool that is not there was *not run*; that is never told as if it had found nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIME_LIMIT = 30.0
"""Seconds for one tool."""


@dataclass(frozen=True)
class Tool:
    """A linter: its command with `{}` for the files, and what it looks at, as patterns under the root."""

    name: str
    command: tuple[str, ...]
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Opinion:
    """What a tool said; `lines` is None when it was not run."""

    tool: str
    lines: tuple[str, ...] | None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The opinion in one line."""
        if self.lines is None:
            return f"{self.tool}: not run ({self.reason})"
        if not self.lines:
            return f"{self.tool}: nothing to say"
        more = f" (and {len(self.lines) - 1} more)" if len(self.lines) > 1 else ""
        return f"{self.tool}: {self.lines[0]}{more}"


TOOLS = (
    Tool("hadolint", ("hadolint", "--no-color", "{}"), ("Dockerfile",)),
    Tool("compose-lint", ("compose-lint", "--fail-on", "high", "{}"), ("compose.yaml", "docker-compose.yml")),
    Tool(
        "docker compose config",
        ("docker", "compose", "--file", "{}", "config", "--quiet", "--no-interpolate"),
        ("compose.yaml", "docker-compose.yml"),
    ),
    Tool("actionlint", ("actionlint", "-no-color", "-oneline", "{}"), (".github/workflows/*.y*ml",)),
    Tool("zizmor", ("zizmor", "--offline", "--quiet", "--color", "never", "{}"), (".github/workflows/*.y*ml",)),
    Tool("kubeconform", ("kubeconform", "-summary", "{}"), ("k8s/*.y*ml",)),
    Tool("shellcheck", ("shellcheck", "--format", "gcc", "{}"), ("scripts/*.sh",)),
)


def opinions(root: Path, tools: Sequence[Tool] = TOOLS) -> list[Opinion]:
    """Ask every tool about the files under `root` that are its business; each is given `TIME_LIMIT` seconds."""
    return [
        _ask(tool, sorted(file for pattern in tool.patterns for file in root.resolve().glob(pattern))) for tool in tools
    ]


def _ask(tool: Tool, files: list[Path]) -> Opinion:
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    program = shutil.which(tool.command[0], path=path)
    if program is None:
        return Opinion(tool.name, None, "not found")
    if not files:
        return Opinion(tool.name, None, "no file of its kind")
    named = [str(file) for file in files]
    words = [part for word in tool.command[1:] for part in (named if word == "{}" else [word])]
    # In a folder of its own: no settings of the learner's, and none of ours, speak for a tool.
    with tempfile.TemporaryDirectory() as folder:
        try:
            ended = subprocess.run(
                [program, *words],
                cwd=folder,
                env={"PATH": path, "HOME": folder, "LANG": "C.UTF-8", **_docker_settings()},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIME_LIMIT,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            return Opinion(tool.name, None, type(problem).__name__)
    said = f"{ended.stdout}\n{ended.stderr}".replace(f"{files[0].parent}/", "")
    if ended.returncode and "Usage:  docker" in said:  # the plug-in is not there
        return Opinion(tool.name, None, "not found")
    return Opinion(tool.name, _telling(said) if ended.returncode else ())


def _docker_settings() -> dict[str, str]:
    return {name: os.environ[name] for name in ("DOCKER_CONFIG", "DOCKER_HOST") if name in os.environ}


def _telling(said: str) -> tuple[str, ...]:
    """Return the lines that begin a finding: those with a place, or else all."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    placed = [
        line for line in lines if line.startswith(("error", "warning", "info", "help[")) or ":" in line.split(" ")[0]
    ]
    return tuple(placed or lines)
