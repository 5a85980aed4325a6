"""The build context: which files a COPY takes into the image, and which `.dockerignore` keeps out of it."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property

from grader.deployment.image import Image
from grader.deployment.instructions import Instruction, Stage, expand


@dataclass(frozen=True)
class Ignore:
    """The patterns of a `.dockerignore`; the last one that matches a path, or a folder above it, decides."""

    text: str

    @cached_property
    def patterns(self) -> list[tuple[bool, re.Pattern[str]]]:
        """Each pattern with whether it excludes (True) or takes back in (`!`)."""
        lines = [line.strip() for line in self.text.lstrip("\ufeff").splitlines()]
        return [_pattern(line) for line in lines if line and not line.startswith("#") and line != "!"]

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative to the build context, stays out of it."""
        parts = path.split("/")
        above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        out = False
        for excluding, pattern in self.patterns:
            if any(pattern.fullmatch(prefix) for prefix in above):
                out = excluding
        return out


def _pattern(line: str) -> tuple[bool, re.Pattern[str]]:
    excluding = not line.startswith("!")
    clean = line.removeprefix("!").strip().removeprefix("./").strip("/")
    return excluding, re.compile(_expression("/".join(part for part in clean.split("/") if part not in {"", "."})))


def _expression(pattern: str) -> str:
    """Translate `*`, `?`, `**` and `[…]` into a regular expression."""
    if pattern == "":
        return r".*"
    result, rest = "", pattern
    while rest:
        if rest.startswith("**/"):
            result, rest = result + r"(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            result, rest = result + r".*", rest[2:]
        elif rest[0] in "*?":
            result, rest = result + (r"[^/]*" if rest[0] == "*" else r"[^/]"), rest[1:]
        elif found := re.match(r"\[\^?[^\]/]+\]", rest):
            result, rest = result + found[0], rest[found.end() :]
        elif rest[0] == "\\" and len(rest) > 1:
            result, rest = result + re.escape(rest[1]), rest[2:]
        else:
            result, rest = result + re.escape(rest[0]), rest[1:]
    return result


@dataclass(frozen=True)
class Copy:
    """One COPY or ADD whose files come from the build context."""

    step: Instruction
    sources: tuple[str, ...]
    ignore: Ignore

    def takes(self, path: str) -> bool:
        """Whether it puts this file of the context into the image."""
        return any(_within(path, source) for source in self.sources) and not self.ignore.excludes(path)

    @property
    def whole(self) -> bool:
        """Whether it takes the whole context."""
        return any(source in {"", "*"} for source in self.sources)


def _within(path: str, source: str) -> bool:
    if source in {"", "*"}:
        return True
    pattern = re.compile(_expression(source))
    parts = path.split("/")
    return any(pattern.fullmatch("/".join(parts[: end + 1])) for end in range(len(parts)))


def source(word: str) -> str:
    """Return a COPY source as a path within the context."""
    clean = posixpath.normpath("/" + word).strip("/")
    return "" if clean in {"", "."} else clean


def of_step(step: Instruction, values: dict[str, str], ignore: Ignore) -> Copy | None:
    """Return what a COPY or ADD takes from the context, None when its files come from elsewhere."""
    if step.keyword not in {"COPY", "ADD"} or step.flag("from") is not None:
        return None
    words = [expand(word, values).text for word in step.arguments[:-1]]
    local = [word for word in words if "://" not in word and not word.startswith(("git@", "<<"))]
    return Copy(step, tuple(source(word) for word in local), ignore) if local else None


def into_image(image: Image, ignore: Ignore) -> list[Copy]:
    """Return the copies whose files end in the image: of its own stages, and of those it takes folders from."""
    chain = {stage.index for stage in image.stage.chain}
    result = []
    for stage in image.dockerfile.reachable(image.stage):
        for step in stage.instructions:
            copy = of_step(step, image.values, ignore)
            if copy and (stage.index in chain or _carried(image, stage, step)):
                result.append(copy)
    return result


def _carried(image: Image, stage: Stage, step: Instruction) -> bool:
    """Whether the image copies the folder that `step` fills, or one around it, from `stage`."""
    filled = posixpath.join(_folder(stage, step), step.arguments[-1])
    for other in image.stage.history("COPY"):
        if image.dockerfile.stage(other.flag("from")) is stage:
            taken = [posixpath.normpath(posixpath.join("/", word)) for word in other.arguments[:-1]]
            if any(posixpath.commonpath([posixpath.normpath(filled), folder]) == folder for folder in taken):
                return True
    return False


def _folder(stage: Stage, step: Instruction) -> str:
    folder = "/"
    for below in stage.chain:
        for other in below.instructions:
            if other is step:
                return folder
            if other.keyword == "WORKDIR":
                folder = posixpath.join(folder, other.text)
    return folder
