"""The Dockerfile, read as BuildKit does: directives, continued lines, heredocs, flags, list and shell form, stages."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field

KEYWORDS = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ],
)
_DIRECTIVE = re.compile(r"^\s*#\s*(syntax|escape|check)\s*=\s*(.+?)\s*$", re.IGNORECASE)
_HEREDOC = re.compile(r"(?<!<)<<(-?)(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)")
_VARIABLE = re.compile(r"\\\$|\$(?:\{(\w+)(?:(:?[-+])([^}]*))?\}|(\w+))")


class DockerfileError(ValueError):
    """The text is no Dockerfile: `line` and, as the message, what is wrong there."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Instruction:
    """One instruction; `text` is what follows the flags, `words` its list form, None for the shell form."""

    keyword: str
    text: str
    line: int
    flags: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] | None = None
    heredocs: tuple[str, ...] = ()

    def flag(self, name: str) -> str | None:
        """Return the value of a flag, None when it is not given."""
        return dict(self.flags).get(name)

    @property
    def script(self) -> str:
        """Everything a shell would see: the line and the heredocs after it."""
        return "\n".join([self.text, *self.heredocs])

    @property
    def arguments(self) -> list[str]:
        """The words of the line, as COPY and ADD read them."""
        return list(self.words) if self.words is not None else split(self.text)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The `name=value` pairs of ENV and ARG; an ARG without a value gives none, `ENV name the value` one."""
        if self.keyword == "ENV" and "=" not in self.text.split(maxsplit=1)[0]:
            name, _, value = self.text.partition(" ")
            return [(name, value.strip())]
        return [(name, value) for name, equals, value in (word.partition("=") for word in split(self.text)) if equals]


@dataclass(frozen=True)
class Word:
    """A text after expansion; `known` is False when a variable without a value was in it."""

    text: str
    known: bool


@dataclass
class Stage:
    """One `FROM` and what follows it; `parent` is the stage it is built on, None for an image from outside."""

    index: int
    name: str
    base: Word
    line: int
    parent: Stage | None = None
    instructions: list[Instruction] = field(default_factory=list)

    @property
    def chain(self) -> list[Stage]:
        """The stages below this one and itself, lowest first."""
        return [*(self.parent.chain if self.parent else []), self]

    @property
    def root(self) -> Stage:
        """The stage whose base comes from outside."""
        return self.chain[0]

    def history(self, *keywords: str) -> list[Instruction]:
        """Every instruction of these kinds that the image inherits or has, in order."""
        return [step for stage in self.chain for step in stage.instructions if step.keyword in keywords]


@dataclass(frozen=True)
class Dockerfile:
    """The stages in order; `defaults` are the values of ARGs before the first FROM."""

    stages: list[Stage]
    arguments: list[Instruction]

    def stage(self, name: str | None) -> Stage | None:
        """Return the stage of that name or number; None when there is none."""
        for stage in self.stages:
            if name is not None and name.lower() in {stage.name.lower(), str(stage.index)}:
                return stage
        return None

    def final(self, target: str | None = None) -> Stage:
        """Return the stage that is built: `target`, or the last."""
        return self.stage(target) or self.stages[-1]

    def reachable(self, stage: Stage) -> list[Stage]:
        """Return the stages that `stage` is made from: those it is built on and those it copies from."""
        found: dict[int, Stage] = {}
        waiting = [stage]
        while waiting:
            current = waiting.pop()
            if current.index not in found:
                found[current.index] = current
                sources = [self.stage(step.flag("from")) for step in current.instructions if step.keyword == "COPY"]
                waiting += [s for s in [*sources, current.parent] if s is not None]
        return [found[index] for index in sorted(found)]


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile; raise `DockerfileError` where no builder could."""
    arguments: list[Instruction] = []
    stages: list[Stage] = []
    for instruction in read(text):
        if instruction.keyword == "FROM":
            stages.append(_stage(instruction, stages, arguments))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.keyword == "ARG":
            arguments.append(instruction)
        else:
            raise DockerfileError(f"{instruction.keyword} stands before the first FROM", instruction.line)
    if not stages:
        raise DockerfileError("there is no FROM", 1)
    return Dockerfile(stages, arguments)


def read(text: str) -> list[Instruction]:
    """Return the instructions of `text` in order, whatever stages they form."""
    lines = text.replace("\r\n", "\n").removeprefix("\ufeff").split("\n")
    escape = _escape(lines)
    result, number = [], 0
    while number < len(lines):
        if not lines[number].strip() or lines[number].lstrip().startswith("#"):
            number += 1
            continue
        start = number
        logical, number = _logical(lines, number, escape)
        keyword, _, rest = logical.strip().partition(" ")
        heredocs: tuple[str, ...] = ()
        if keyword.upper() in {"RUN", "COPY", "ADD"}:
            heredocs, number = _heredocs(lines, number, rest)
        result.append(_instruction(keyword.upper(), rest.strip(), start + 1, heredocs))
    return result


def _escape(lines: list[str]) -> str:
    for line in lines:
        found = _DIRECTIVE.match(line)
        if not found:
            break
        if found[1].lower() == "escape":
            return found[2]
    return "\\"


def _logical(lines: list[str], number: int, escape: str) -> tuple[str, int]:
    """Join a line with those that continue it; comments and empty lines in between do not end it."""
    parts: list[str] = []
    while number < len(lines):
        line = lines[number]
        number += 1
        if parts and (line.lstrip().startswith("#") or not line.strip()):
            continue
        stripped = line.rstrip()
        if not stripped.endswith(escape):
            parts.append(stripped)
            break
        parts.append(stripped[: -len(escape)])
    return " ".join(part.strip() for part in parts).replace("\t", " "), number


def _heredocs(lines: list[str], number: int, rest: str) -> tuple[tuple[str, ...], int]:
    bodies = []
    for dash, _, name in _HEREDOC.findall(rest):
        body = []
        opened = number
        while number < len(lines) and (lines[number].lstrip("\t") if dash else lines[number]) != name:
            body.append(lines[number])
            number += 1
        if number == len(lines):
            raise DockerfileError(f"the heredoc {name} has no end", opened)
        number += 1
        bodies.append("\n".join(body))
    return tuple(bodies), number


def _instruction(keyword: str, rest: str, line: int, heredocs: tuple[str, ...]) -> Instruction:
    if keyword not in KEYWORDS:
        raise DockerfileError(f"{keyword} is no instruction", line)
    if not rest:
        raise DockerfileError(f"{keyword} has nothing after it", line)
    flags = []
    if keyword in {"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"}:
        while found := _FLAG.match(rest):
            flags.append((found[1], found[2] or ""))
            rest = rest[found.end() :]
    listed = rest.partition(" ")[2].strip() if keyword == "HEALTHCHECK" else rest
    return Instruction(keyword, rest, line, tuple(flags), _list_form(listed), heredocs)


def _list_form(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return tuple(words) if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _stage(instruction: Instruction, stages: list[Stage], arguments: list[Instruction]) -> Stage:
    words = instruction.text.split()
    values = {name: value for step in arguments for name, value in step.pairs}
    base = expand(words[0], values)
    name = words[2] if len(words) == 3 and words[1].lower() == "as" else ""
    if len(words) not in {1, 3} or (len(words) == 3 and not name):
        raise DockerfileError("FROM takes an image, and `AS name` if wanted", instruction.line)
    parent = next((stage for stage in reversed(stages) if stage.name and stage.name.lower() == base.text.lower()), None)
    return Stage(len(stages), name, base, instruction.line, parent)


def split(text: str) -> list[str]:
    """Split as a shell would; text with an odd quote is split at the blanks."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def expand(text: str, values: dict[str, str]) -> Word:
    """Put the values of variables into `text`: `$A`, `${A}`, `${A:-default}`, `${A:+other}`."""
    known = True

    def put(found: re.Match[str]) -> str:
        nonlocal known
        if found[0] == "\\$":
            return "$"
        value, operator, other = values.get(found[1] or found[4]), found[2] or "", found[3] or ""
        if operator.endswith("+"):
            return other if value is not None else ""
        if value is None or (operator == ":-" and not value):
            known = known and bool(operator)
            return other
        return value

    expanded = _VARIABLE.sub(put, text)
    return Word(expanded, known and "${" not in expanded)
