"""Rules: Railway's configuration as code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment import launch
from grader.deployment.instructions import split
from grader.deployment.launch import Launch
from grader.deployment.rule import Spot, rule
from grader.deployment.start import missing_module

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

KIND = "railway"
_BUILDERS = frozenset({"RAILPACK", "DOCKERFILE", "NIXPACKS", "PAKETO", "HEROKU"})
_RESTARTS = frozenset({"ON_FAILURE", "ALWAYS", "NEVER"})


def _at(tree: Tree, table: str, key: str) -> object:
    inner = (tree.railway or {}).get(table)
    return inner.get(key) if isinstance(inner, dict) else None


def _line(tree: Tree, key: str) -> int | None:
    lines = (tree.text(tree.railway_file or "") or "").splitlines()
    return next(
        (number for number, line in enumerate(lines, start=1) if key in line and not line.lstrip().startswith("#")),
        None,
    )


def _from_image(tree: Tree) -> bool:
    """Whether Railway builds the Dockerfile: it takes one at the root for the builder, unless told otherwise."""
    builder = _at(tree, "build", "builder")
    return builder == "DOCKERFILE" or (builder is None and tree.text("Dockerfile") is not None)


def _start(tree: Tree) -> Launch | None:
    command = _at(tree, "deploy", "startCommand")
    if not isinstance(command, str) or not command.strip():
        return None
    if _from_image(tree):
        return launch.of_words(tuple(split(command)), read=tree.find, environment={})
    return launch.of_script(command, read=tree.find, environment={})


def _spot(tree: Tree, key: str, what: str, *, advice: bool = False) -> Spot:
    return Spot(tree.railway_file or "railway.toml", _line(tree, key), what, advice)


@rule(
    "railway-start",
    KIND,
    why="A start command here replaces the image's own; Railway sends requests to $PORT, from outside.",
    mend="Leave `startCommand` to the Dockerfile's CMD, or give the server `--host 0.0.0.0 --port $PORT`.",
)
def railway_start(tree: Tree) -> Iterator[Spot]:
    """A start command for Railway serves the service's application on $PORT at every address."""
    started = _start(tree)
    if started is None:
        return
    if started.honours_port is False:
        yield _spot(tree, "startCommand", f"{started.server}'s port is fixed.")
    if started.everywhere is False:
        yield _spot(tree, "startCommand", f"{started.server} listens on 127.0.0.1 only.")
    if missing := missing_module(tree, started):
        yield _spot(tree, "startCommand", f"There is no module {missing} in this folder.")


@rule(
    "railway-unexpanded",
    KIND,
    why="For an image the start command runs without a shell: the server is told the port `$PORT`, and stops.",
    mend='Wrap it: `/bin/sh -c "exec uvicorn … --port $PORT"`, or leave it to the image\'s CMD.',
)
def railway_unexpanded(tree: Tree) -> Iterator[Spot]:
    """Variables of Railway's start command are expanded by somebody."""
    started = _start(tree)
    if started and started.unexpanded:
        yield _spot(tree, "startCommand", "A variable stands in a start command that no shell expands.")


@rule(
    "railway-value",
    KIND,
    why="A value that Railway does not know stops the deployment, or is passed over.",
    mend="Builders are RAILPACK and DOCKERFILE, restart policies ON_FAILURE, ALWAYS and NEVER; paths begin with `/`.",
)
def railway_value(tree: Tree) -> Iterator[Spot]:
    """Railway's settings have values that Railway knows."""
    builder, restart = _at(tree, "build", "builder"), _at(tree, "deploy", "restartPolicyType")
    path = _at(tree, "deploy", "healthcheckPath")
    if builder is not None and builder not in _BUILDERS:
        yield _spot(
            tree, "builder", f"`{builder}` is no builder.", advice=isinstance(builder, str) and builder.isupper()
        )
    if restart is not None and restart not in _RESTARTS:
        yield _spot(tree, "restartPolicyType", f"`{restart}` is no restart policy.")
    if path is not None and not (isinstance(path, str) and path.startswith("/")):
        yield _spot(tree, "healthcheckPath", f"`{path}` is no path.")


@rule(
    "railway-no-healthcheck",
    KIND,
    why="Without one Railway sends traffic as soon as the process exists, and takes the old one away.",
    mend="Set `healthcheckPath` to /readyz.",
    advice=True,
)
def railway_no_healthcheck(tree: Tree) -> Iterator[Spot]:
    """Railway asks whether a new deployment is ready before it gets traffic."""
    if tree.railway is not None and _at(tree, "deploy", "healthcheckPath") is None:
        yield _spot(tree, "deploy", "No `healthcheckPath` is set.")
