"""The deployment files of one service, each read once, and what was wrong in reading them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grader.deployment import composed, context, instructions, located
from grader.deployment.image import Image
from grader.deployment.located import Map, YamlError, mapping
from grader.deployment.rule import Spot

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
RAILWAY = ("railway.json", "railway.toml")
_SKIPPED = frozenset(
    {".git", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)
_LARGEST = 512 * 1024
_MOST_FILES = 4000
_PROCESS = re.compile(r"^([A-Za-z0-9_-]+):\s*(\S.*)$")


@dataclass(frozen=True)
class ProcessLine:
    """One line of a Procfile."""

    name: str
    command: str
    line: int


@dataclass(frozen=True)
class Document:
    """One mapping of a YAML file (a Compose file, a workflow, a Kubernetes object)."""

    file: str
    content: Map


class Tree:
    """The files under a service root. Reading never raises: `problems` says what could not be read."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.problems: dict[str, list[Spot]] = {}
        self._texts: dict[str, str | None] = {}

    def text(self, name: str) -> str | None:
        """Return the text of a file of the service; None when it is not there, leaves the root, or is huge."""
        if name not in self._texts:
            self._texts[name] = self._read(name)
        return self._texts[name]

    def _read(self, name: str) -> str | None:
        try:
            path = (self.root / name.lstrip("/")).resolve()
            if not path.is_relative_to(self.root) or not path.is_file() or path.stat().st_size > _LARGEST:
                return None
            return path.read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError):
            return None

    def find(self, name: str) -> str | None:
        """Return the text of a file by its path in the image: the longest end of it that is a file of the service."""
        parts = [part for part in name.split("/") if part not in {"", ".", ".."}]
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        ends += [f"{folder}/{parts[-1]}" for folder in ("scripts", "docker", "bin", "deploy") if parts]
        return next((text for end in ends if (text := self.text(end)) is not None), None)

    def first(self, names: tuple[str, ...]) -> str | None:
        """Return the first of these files that is there."""
        return next((name for name in names if self.text(name) is not None), None)

    @cached_property
    def files(self) -> list[str]:
        """Every file of the service, as paths within it; tools' own folders are left out."""
        return sorted(self._walk(self.root))[:_MOST_FILES]

    def _walk(self, folder: Path) -> Iterator[str]:
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                if entry.name not in _SKIPPED:
                    yield from self._walk(entry)
            elif entry.is_file():
                yield entry.relative_to(self.root).as_posix()

    def read(self) -> Tree:
        """Read everything, so that `problems` is complete."""
        for name in ("dockerfile", "compose", "procfile", "railway", "workflows", "manifests"):
            getattr(self, name)
        return self

    def _trouble(self, kind: str, file: str, line: int | None, what: str) -> None:
        self.problems.setdefault(kind, []).append(Spot(file, line, what))

    @cached_property
    def dockerfile(self) -> instructions.Dockerfile | None:
        """The Dockerfile; None when it is not there or cannot be read."""
        text = self.text("Dockerfile")
        try:
            return None if text is None else instructions.parse(text)
        except instructions.DockerfileError as problem:
            self._trouble("Dockerfile", "Dockerfile", problem.line, f"{problem}.")
            return None

    @cached_property
    def image(self) -> Image | None:
        """The image that is deployed: of the stage that Compose's `api` names, else of the last."""
        if self.dockerfile is None:
            return None
        api = mapping(self.compose).map("services", "api")
        target = located.text(api.at("build", "target"))
        return Image(self.dockerfile, self.dockerfile.final(target or None))

    @property
    def ignore_file(self) -> str:
        """The ignore file that the builder reads."""
        return "Dockerfile.dockerignore" if self.text("Dockerfile.dockerignore") is not None else ".dockerignore"

    @cached_property
    def ignore(self) -> context.Ignore | None:
        """The `.dockerignore`, None when there is none."""
        text = self.text(self.ignore_file)
        return None if text is None else context.Ignore(text)

    @cached_property
    def copies(self) -> list[context.Copy]:
        """What the image takes from the build context."""
        return context.into_image(self.image, self.ignore or context.Ignore("")) if self.image else []

    @cached_property
    def compose_file(self) -> str | None:
        """The Compose file's name."""
        return self.first(COMPOSE)

    @cached_property
    def compose(self) -> Map | None:
        """The Compose project with its `include`s, override file and `extends` laid together."""
        if self.compose_file is None:
            return None
        try:
            return composed.project(self, self.compose_file)
        except YamlError as problem:
            self._trouble("compose", self.compose_file, problem.line, f"{problem}.")
            return None

    @cached_property
    def procfile(self) -> list[ProcessLine] | None:
        """The lines of the Procfile; None when it is not there."""
        text = self.text("Procfile")
        if text is None:
            return None
        lines = []
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            if found := _PROCESS.match(line):
                lines.append(ProcessLine(found[1], found[2].strip(), number))
            else:
                self._trouble("Procfile", "Procfile", number, f"`{line.strip()[:60]}` is not `name: command`.")
        return lines

    @cached_property
    def railway_file(self) -> str | None:
        """The Railway file's name."""
        return self.first(RAILWAY)

    @cached_property
    def railway(self) -> dict[str, object] | None:
        """Railway's configuration; None when it is not there or cannot be read."""
        if self.railway_file is None:
            return None
        text = self.text(self.railway_file) or ""
        try:
            read: object = tomllib.loads(text) if self.railway_file.endswith(".toml") else json.loads(text)
        except ValueError as problem:
            self._trouble("railway", self.railway_file, getattr(problem, "lineno", None), f"{problem}.")
            return None
        if not isinstance(read, dict):
            self._trouble("railway", self.railway_file, 1, "The file holds no object.")
            return None
        return read

    @cached_property
    def workflows(self) -> list[Document]:
        """The workflows of GitHub Actions."""
        return [
            Document(name, mapping(content))
            for name in self._yaml(".github/workflows")
            for content in self.documents("workflow", name)[:1]
        ]

    @cached_property
    def manifests(self) -> list[Document]:
        """The Kubernetes objects under `k8s/`, lists taken apart, Kustomize's own files left out."""
        found = [
            Document(name, mapping(content)) for name in self._yaml("k8s") for content in self.documents("k8s", name)
        ]
        flat = [
            Document(each.file, mapping(item))
            for each in found
            for item in (
                located.items(each.content.get("items")) if each.content.get("kind") == "List" else [each.content]
            )
        ]
        return [
            each for each in flat if located.text(each.content.get("kind")) not in {"", "Kustomization", "Component"}
        ]

    def _yaml(self, folder: str) -> list[str]:
        deep = folder == "k8s"
        inside = [name for name in self.files if name.startswith(f"{folder}/") and name.endswith((".yaml", ".yml"))]
        return [name for name in inside if deep or name.count("/") == folder.count("/") + 1]

    def documents(self, kind: str, name: str) -> list[located.Value]:
        """Return the YAML documents of a file; what is wrong in it goes to the problems of its kind."""
        text = self.text(name) or ""
        try:
            return [content for content in located.load(text, name) if content is not None]
        except YamlError as problem:
            template = " It looks like a Helm template: render it first." if "{{" in text and kind == "k8s" else ""
            self._trouble(kind, name, problem.line, f"{problem}.{template}")
            return []
