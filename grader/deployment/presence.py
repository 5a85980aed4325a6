"""Rules: every file that a deployment needs is there and can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from grader.deployment.rule import Judge, Spot, rule

if TYPE_CHECKING:
    from grader.deployment.tree import Tree


def _says_something(text: str | None) -> bool:
    """Whether a file is there and holds more than blank lines and comments."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in (text or "").splitlines())


_SOUGHT: dict[str, tuple[str, str, Callable[[Tree], bool], Callable[[Tree], object]]] = {
    "Dockerfile": (
        "Dockerfile",
        "Without it nobody can build the image that is tested, shipped and rolled back.",
        lambda tree: tree.text("Dockerfile") is not None,
        lambda tree: tree.dockerfile,
    ),
    ".dockerignore": (
        ".dockerignore",
        "Without it `COPY . .` takes .env, .git and every cache into the image.",
        lambda tree: tree.ignore is not None,
        lambda tree: tree.ignore,
    ),
    "compose": (
        "compose.yaml",
        "It is how the service and its neighbours are started together, on a laptop as on a server.",
        lambda tree: tree.compose_file is not None,
        lambda tree: tree.compose,
    ),
    "Procfile": (
        "Procfile",
        "Heroku and Elastic Beanstalk read from it what to start.",
        lambda tree: tree.text("Procfile") is not None,
        lambda tree: tree.procfile,
    ),
    "railway": (
        "railway.toml",
        "It keeps the platform's settings (builder, health check, restarts) under review, not in a web form.",
        lambda tree: _says_something(tree.text(tree.railway_file or "")),
        lambda tree: tree.railway,
    ),
    "workflow": (
        ".github/workflows/deploy.yml",
        "A deployment by hand is one that differs each time and that no test guards.",
        lambda tree: bool(tree.workflows) or "workflow" in tree.problems,
        lambda tree: tree.workflows,
    ),
    "k8s": (
        "k8s/api.yaml",
        "Without manifests a cluster knows neither how to probe the service nor when to scale it.",
        lambda tree: bool(tree.manifests) or "k8s" in tree.problems,
        lambda tree: tree.manifests,
    ),
}


def _missing(file: str, there: Callable[[Tree], bool]) -> Judge:
    def judge(tree: Tree) -> Iterator[Spot]:
        if not there(tree):
            yield Spot(file, None, "The file is not there, or holds nothing.")

    judge.__doc__ = f"There is a {file}."
    return judge


def _unreadable(kind: str, read: Callable[[Tree], object]) -> Judge:
    def judge(tree: Tree) -> Iterator[Spot]:
        read(tree)
        yield from tree.problems.get(kind, [])

    judge.__doc__ = f"The {kind} files can be read by the tools they are for."
    return judge


for _kind, (_file, _why, _there, _read) in _SOUGHT.items():
    _stem = _kind.lower().strip(".")
    rule(f"{_stem}-missing", _kind, why=_why, mend=f"Write a {_file}.")(_missing(_file, _there))
    if _kind != ".dockerignore":
        rule(
            f"{_stem}-unreadable",
            _kind,
            why="No tool can use it as it stands, so nothing in it counts.",
            mend="Mend the line; an editor that knows the format marks it.",
        )(_unreadable(_kind, _read))
