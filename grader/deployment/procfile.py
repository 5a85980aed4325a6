"""Rules: what the Procfile starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment import launch
from grader.deployment.launch import Launch
from grader.deployment.rule import Spot, rule
from grader.deployment.start import missing_module

if TYPE_CHECKING:
    from grader.deployment.tree import ProcessLine, Tree

KIND = "Procfile"


def web_line(tree: Tree) -> ProcessLine | None:
    """Return the Procfile's `web` line."""
    return next((line for line in tree.procfile or [] if line.name == "web"), None)


def _web(tree: Tree) -> tuple[ProcessLine, Launch] | None:
    line = web_line(tree)
    return None if line is None else (line, launch.of_script(line.command, read=tree.find, environment={}))


@rule(
    "procfile-no-web",
    KIND,
    why="`web` is the one process type that the platform sends requests to.",
    mend="Add `web: uvicorn app.main:app --host 0.0.0.0 --port $PORT`.",
)
def procfile_no_web(tree: Tree) -> Iterator[Spot]:
    """The Procfile has a `web` process."""
    if tree.procfile is not None and web_line(tree) is None and "Procfile" not in tree.problems:
        yield Spot("Procfile", None, "No line starts with `web:`.")


@rule(
    "procfile-ignores-port",
    KIND,
    why="The platform's router asks $PORT; a server elsewhere counts as one that never started.",
    mend="Give the server `--port $PORT`.",
)
def procfile_ignores_port(tree: Tree) -> Iterator[Spot]:
    """The Procfile's web server listens on $PORT."""
    found = _web(tree)
    if found and found[1].honours_port is False:
        yield Spot("Procfile", found[0].line, f"{found[1].server}'s port is fixed.")


@rule(
    "procfile-on-loopback",
    KIND,
    why="The router comes from outside; on 127.0.0.1 it finds nobody.",
    mend="Add `--host 0.0.0.0`.",
)
def procfile_on_loopback(tree: Tree) -> Iterator[Spot]:
    """The Procfile's web server listens on every address."""
    found = _web(tree)
    if found and found[1].everywhere is False:
        yield Spot("Procfile", found[0].line, f"{found[1].server} listens on 127.0.0.1 only.")


@rule(
    "procfile-app-missing",
    KIND,
    why="The server ends at once with an import error, and the platform restarts it for ever.",
    mend="Name the application as it lies in the folder: `app.main:app` is `app` in app/main.py.",
)
def procfile_app_missing(tree: Tree) -> Iterator[Spot]:
    """The application that the Procfile starts is in the folder."""
    found = _web(tree)
    missing = found and missing_module(tree, found[1])
    if found and missing:
        yield Spot("Procfile", found[0].line, f"There is no module {missing} in this folder.")


@rule(
    "procfile-no-worker",
    KIND,
    why="Tasks of /chat-async then wait for ever on a platform that starts what the Procfile says.",
    mend="Add `worker: celery -A app.worker worker --concurrency 2`.",
    advice=True,
)
def procfile_no_worker(tree: Tree) -> Iterator[Spot]:
    """The Procfile has a process for the queue."""
    lines = tree.procfile or []
    if lines and not any(line.name not in {"web", "release"} for line in lines):
        yield Spot("Procfile", None, "No line starts the worker.")
