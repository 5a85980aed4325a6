"""Shell lines, as far as a start command needs: simple commands, what joins them, what wraps a program."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_REDIRECTION = re.compile(r"\d*>&\d")
_JOINTS = frozenset({"&&", "||", ";", "|", "&", "\n", ";;", "(", ")", "|&"})


@dataclass(frozen=True)
class Command:
    """One simple command: its words without leading assignments and `exec`; `joint` is what stands after it."""

    words: tuple[str, ...]
    assigned: tuple[str, ...] = ()
    replaces: bool = False
    joint: str = ""


def commands(script: str) -> list[Command]:
    """Return the simple commands of a script in order; a script that no shell could read gives none."""
    lexer = shlex.shlex(_REDIRECTION.sub("", script.replace("\\\n", " ")), posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace, lexer.whitespace_split = " \t\r", True
    found: list[Command] = []
    words: list[str] = []
    try:
        for token in lexer:
            joint = token.strip("\n") or "\n"
            if joint in _JOINTS:
                found += _command(words, joint)
                words = []
            else:
                words.append(token)
    except ValueError:
        return []
    return found + _command(words, "")


def _command(words: list[str], joint: str) -> list[Command]:
    if not words:
        return []
    assigned = []
    replaces = False
    rest = [*words]
    while rest and (_ASSIGNMENT.match(rest[0]) or (rest[0] == "exec" and not replaces)):
        word = rest.pop(0)
        replaces = replaces or word == "exec"
        assigned += [] if word == "exec" else [word]
    return [Command(tuple(rest), tuple(assigned), replaces, joint)]


def is_python(name: str) -> bool:
    """Whether a program is a Python interpreter."""
    return bool(re.fullmatch(r"python[0-9.]*", name))


def base(word: str) -> str:
    """Return the program's name without its folder."""
    return word.rsplit("/", 1)[-1]


_RUNNERS = {
    "uv": ("run",),
    "poetry": ("run",),
    "pipenv": ("run",),
    "pdm": ("run",),
    "hatch": ("run",),
    "rye": ("run",),
    "pixi": ("run",),
    "doppler": ("run",),
    "infisical": ("run",),
    "newrelic-admin": ("run-program",),
}
_PREFIXES = frozenset(
    {"tini", "tini-static", "docker-init", "dumb-init", "catatonit", "env", "nice", "stdbuf", "ionice"}
)
_TRACERS = frozenset({"opentelemetry-instrument", "ddtrace-run", "jemalloc.sh", "gosu", "su-exec", "setpriv"})
_USERS = frozenset({"gosu", "su-exec"})
_TAKES_VALUE = frozenset(
    {"--package", "--directory", "--project", "--with", "--group", "--extra", "-p", "--python", "-n", "-o", "-C"}
)
_GROUP_SIGNAL = frozenset({"dumb-init"})


def unwrap(words: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Take off what only wraps a program (tini, `env`, `uv run` …).

    Returns the program's own words, and whether a wrapper hands signals to the whole group of processes.
    """
    group = False
    while words:
        name, rest = base(words[0]), words[1:]
        if name in _RUNNERS and rest[:1] == _RUNNERS[name]:
            words = _after_flags(rest[1:])
        elif name in _PREFIXES or name in _TRACERS:
            group = group or name in _GROUP_SIGNAL or (name.startswith("tini") and "-g" in rest)
            words = _after_flags(rest[1:] if name in _USERS and rest[:1] != ("--",) else rest)
        elif is_python(name) and rest[:1] == ("-m",) and rest[1:2] and rest[1] in SERVERS:
            words = rest[1:]
        else:
            break
    return words, group


def _after_flags(words: tuple[str, ...]) -> tuple[str, ...]:
    while words and (words[0].startswith("-") or _ASSIGNMENT.match(words[0])):
        if words[0] == "--":
            return words[1:]
        if words[0] in {"-S", "--split-string"} and len(words) == 2:
            return tuple(shlex.split(words[1]))
        words = words[2:] if words[0] in _TAKES_VALUE else words[1:]
    return words


SERVERS = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastapi"})


def option(words: tuple[str, ...], *names: str) -> str | None:
    """Return the value of the last of these options: `--port 1`, `--port=1`, `-p1`."""
    found = None
    for index, word in enumerate(words):
        for name in names:
            if word == name:
                found = words[index + 1] if index + 1 < len(words) else ""
            elif word.startswith(f"{name}="):
                found = word[len(name) + 1 :]
            elif re.fullmatch(r"-[a-z]", name) and word.startswith(name) and not word.startswith("--"):
                found = word[2:]
    return found
