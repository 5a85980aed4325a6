"""Rules: what the image is built on and in which order, who it runs as, what it keeps secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment import secrets
from grader.deployment.context import Copy, Ignore, of_step
from grader.deployment.image import Image
from grader.deployment.instructions import Instruction
from grader.deployment.rule import Spot, rule
from grader.deployment.shell import base, commands

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

KIND = "Dockerfile"
_PINNED = re.compile(r"@sha256:[0-9a-f]{64}$|:[^/@]*(?:\d+\.\d+|\d{8})")
_CODENAMES = re.compile(r":(?:[\w.-]*-)?(?:bullseye|bookworm|trixie|forky|jammy|noble|resolute)\b")
_UNPRIVILEGED = re.compile(r":nonroot|nonroot@|^cgr\.dev/chainguard/|unprivileged|^(?:docker\.io/)?bitnami/")
_ROOT_BY_DEFAULT = re.compile(
    r"^(?:[a-z0-9._-]+(?:[:@][^/]*)?$|ghcr\.io/astral-sh/|public\.ecr\.aws/docker/library/|mcr\.microsoft\.com/devcontainers/)"
)
_DROPS_ROOT = re.compile(r"\b(?:gosu|su-exec|setpriv|runuser|chpst|s6-setuidgid)\b|--(?:user|uid)[= ]|\bsu\s+-")


@rule(
    "base-unpinned",
    KIND,
    why="The same Dockerfile then builds another Python, or another system, next month.",
    mend="Name at least major.minor (`python:3.13-slim`), or a digest (`@sha256:…`).",
)
def base_unpinned(tree: Tree) -> Iterator[Spot]:
    """Every base image is named with at least major.minor, or by digest."""
    for stage in tree.dockerfile.stages if tree.dockerfile else []:
        if stage.parent is None and stage.base.text != "scratch" and not _PINNED.search(stage.base.text):
            unsure = not stage.base.known or bool(_CODENAMES.search(stage.base.text))
            yield Spot(
                "Dockerfile", stage.line, f"The base image `{stage.base.text}` may be another one tomorrow.", unsure
            )


_MANIFEST = re.compile(
    r"(?:^|/)(?:requirements[\w.-]*|constraints[\w.-]*|pyproject\.toml|setup\.(?:py|cfg)|Pipfile(?:\.lock)?|[\w.-]*\.lock|[\w.-]*\.toml"
    r"|environment[\w.-]*\.ya?ml|README[\w.]*|LICENSE[\w.]*|\.python-version|requirements|wheels?|vendor)/?\*?$",
)
_TOOLS = frozenset(
    {"pip", "setuptools", "wheel", "uv", "poetry", "pipenv", "pdm", "hatch", "pip-tools", "build", "rye", "hatchling"}
)


@rule(
    "code-before-dependencies",
    KIND,
    why="A layer is built again when one before it changed: each edited line of code installs every package again.",
    mend="Copy requirements.txt alone, install, and copy the code after that.",
)
def code_before_dependencies(tree: Tree) -> Iterator[Spot]:
    """Dependencies are installed before the package is copied."""
    image = tree.image
    if image is None:
        return
    for stage in image.dockerfile.reachable(image.stage):
        code: Instruction | None = None
        for step in stage.instructions:
            if step.keyword == "RUN" and _installs(step.script):
                if code is not None:
                    yield Spot(
                        "Dockerfile", code.line, f"`{code.keyword} {code.text}` stands before `RUN {step.text[:60]}`."
                    )
                return
            copy = of_step(step, image.values, tree.ignore or Ignore(""))
            code = code or (step if copy and _brings_code(copy, tree) else None)


def _installs(script: str) -> bool:
    """Whether a RUN installs the service's dependencies, not merely a tool to do so."""
    for command in commands(script):
        words = [base(word) for word in command.words]
        if words[:2] == ["python", "-m"] or words[:2] == ["python3", "-m"]:
            words = words[2:]
        if words[:1] in (["uv"], ["poetry"], ["pipenv"], ["pdm"], ["rye"]) and set(words[1:2]) & {"sync", "install"}:
            return True
        words = words[1:] if words[:2] == ["uv", "pip"] else words
        if words[:1] and re.fullmatch(r"pip[0-9.]*", words[0]) and set(words[1:3]) & {"install", "wheel", "sync"}:
            return _more_than_tools(command.words)
    return False


def _more_than_tools(words: tuple[str, ...]) -> bool:
    start = next(index for index, word in enumerate(words) if word in {"install", "wheel", "sync"})
    named = [word for word in words[start + 1 :] if not word.startswith("-")]
    if any(
        word in {"-r", "--requirement", "-e", "--editable"} or word.startswith(("-r", "--requirement"))
        for word in words
    ):
        return True
    return any(re.split(r"[=<>~!\[]", word)[0] not in _TOOLS for word in named)


def _brings_code(copy: Copy, tree: Tree) -> bool:
    for source in copy.sources:
        if source in {"", "*"}:
            return True
        if _MANIFEST.search(source):
            continue
        inside = [name for name in tree.files if name == source or name.startswith(f"{source}/")]
        if source.endswith(".py") or any(name.endswith(".py") for name in inside):
            return True
    return False


@rule(
    "runs-as-root",
    KIND,
    why="Whoever breaks into the process is root in the container, one kernel hole away from the host.",
    mend="End the last stage with `USER 10001` (a number: Kubernetes can check it), after what needs root.",
)
def runs_as_root(tree: Tree) -> Iterator[Spot]:
    """The image's process does not run as root."""
    image = tree.image
    if image is None:
        return
    user = image.user
    if user is None:
        if not _UNPRIVILEGED.search(image.base):
            unsure = not _ROOT_BY_DEFAULT.match(image.base) or _drops_later(image, tree)
            yield Spot("Dockerfile", image.stage.line, "The last stage has no USER line, so it runs as root.", unsure)
    elif user.value.text.split(":")[0] in {"root", "0", ""}:
        unsure = not user.value.known or _drops_later(image, tree)
        yield Spot("Dockerfile", user.line, f"`USER {user.value.text}` is root.", unsure)


def _drops_later(image: Image, tree: Tree) -> bool:
    """Whether the start, or a script it runs, gives root up by itself."""
    steps = [step for step in (image.entrypoint, image.command) if step is not None]
    read = [tree.find(word) or "" for step in steps for word in step.arguments]
    return any(_DROPS_ROOT.search(text) for text in [*(step.text.replace('", "', " ") for step in steps), *read])


@rule(
    "secret-in-image",
    KIND,
    why="ENV and ARG values stand in the image for ever: `docker history` shows them to everyone who has it.",
    mend="Take the line out; give the value when the container starts, or while building by `RUN --mount=type=secret`.",
)
def secret_in_image(tree: Tree) -> Iterator[Spot]:
    """No ENV or ARG of the Dockerfile holds a secret."""
    if tree.dockerfile is None:
        return
    asked = {
        step.text.split()[0]
        for stage in tree.dockerfile.stages
        for step in stage.history("ARG")
        if "=" not in step.text
    }
    steps = [*tree.dockerfile.arguments, *(s for stage in tree.dockerfile.stages for s in stage.instructions)]
    for step in steps:
        for name, value in step.pairs if step.keyword in {"ENV", "ARG"} else []:
            variable = re.fullmatch(r"\$\{?(\w+)\}?", value)
            passed = variable is not None and variable[1] in asked and secrets.named(name)
            if passed or (variable is None and secrets.given(name, re.sub(r"\$\{\w+:?[-+]?\}", "", value))):
                yield Spot("Dockerfile", step.line, f"{step.keyword} {name} puts a secret into the image.")


@rule(
    "secret-argument",
    KIND,
    why="A build argument is kept in the image's history.",
    mend="Use `RUN --mount=type=secret`.",
    advice=True,
)
def secret_argument(tree: Tree) -> Iterator[Spot]:
    """No build argument is asked for a secret."""
    for stage in tree.dockerfile.stages if tree.dockerfile else []:
        for step in stage.instructions:
            names = [name for name in step.text.split() if "=" not in name] if step.keyword == "ARG" else []
            yield from (
                Spot("Dockerfile", step.line, f"ARG {name} asks for a secret.") for name in names if secrets.named(name)
            )


_EXAMPLE = re.compile(r"\.(?:example|sample|template|dist|test)$|example", re.IGNORECASE)
_KEPT_SECRET = re.compile(
    r"(?:^|/)(?:\.env(?:\.[\w-]+)?|[\w-]+\.env|\.netrc|\.pypirc|\.npmrc|credentials|id_(?:rsa|ed25519|ecdsa))$"
)


@rule(
    "secret-copied",
    KIND,
    why="A file in a layer stays in the image, even when a later step deletes it.",
    mend="Keep the file out by .dockerignore, give the value by the environment, and change the secret: it is known.",
)
def secret_copied(tree: Tree) -> Iterator[Spot]:
    """No file with a secret is copied into the image."""
    for name in tree.files if tree.copies else []:
        step = next((copy.step for copy in tree.copies if copy.takes(name)), None)
        found = _secret_line(name, tree) if step else None
        if step and found:
            yield Spot(name, found, f"`{step.keyword} {step.text}` (Dockerfile:{step.line}) copies this secret.")


def _secret_line(name: str, tree: Tree) -> int | None:
    if _EXAMPLE.search(name):
        return None
    variables = bool(_KEPT_SECRET.search(name))
    for number, line in enumerate((tree.text(name) or "").splitlines(), start=1):
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if "PRIVATE KEY-----" in line and secrets.formed(line) and not name.endswith((".py", ".md")):
            return number
        if variables and equals and not key.startswith("#") and secrets.given(key.strip(), value):
            return number
        if re.search(
            r"\b(?:sk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}|gh[pousr]_[A-Za-z0-9]{36}|AKIA(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16})\b",
            line,
        ):
            return number
    return None
