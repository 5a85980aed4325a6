"""What a start command starts: whether SIGTERM reaches it, where it listens, which application it serves.

Three-valued on purpose: True and False are certain, None means that the command does not say, and no point hangs on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from grader.deployment import shell
from grader.deployment.shell import SERVERS, SHELLS, base, option

Read = Callable[[str], str | None]
_PORT = re.compile(
    r"\$\{?PORT\b|\benviron\b[^\n]*\bPORT\b|getenv\([^\n]*\bPORT\b|\bport\b[^\n]*\$\{?PORT", re.IGNORECASE
)
_EVERYWHERE = frozenset({"0.0.0.0", "::", "[::]", "*", ""})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
_APPLICATION = re.compile(r"^([A-Za-z_][\w.]*):[A-Za-z_]\w*(?:\(.*\))?$")


@dataclass(frozen=True)
class Launch:
    """The end of a start command's wrappings."""

    words: tuple[str, ...]
    server: str
    signalled: bool | None = True
    expands: bool = True
    everywhere: bool | None = None
    honours_port: bool | None = None
    application: str | None = None

    @property
    def unexpanded(self) -> bool:
        """Whether `$PORT` stands in the words with no shell to expand it."""
        return not self.expands and any(re.search(r"\$\{?\w", word) for word in self.words)


def of_script(script: str, *, read: Read, environment: Mapping[str, str], program: str = "sh") -> Launch:
    """Judge what a shell is given to run, `program` being that shell."""
    found = shell.commands(script)
    if not found:
        return Launch((), "", None)
    last = _decisive(found)
    alone = program == "bash" and last.joint == "" and "|" not in {c.joint for c in found}
    replaced = last.replaces or alone
    known = {**environment, **dict(word.split("=", 1) for c in found for word in c.assigned)}
    inner = of_words(last.words, read=read, environment=known, expands=True)
    signalled = inner.signalled if replaced else (None if "trap" in script else False)
    return _with(inner, signalled=signalled, expands=True, honours_port=_port_in(inner, script))


def _decisive(found: list[shell.Command]) -> shell.Command:
    """Return the command that runs on at the end: the last, or the first of the last pipe."""
    index = len(found) - 1 if found[-1].words else 0
    while index and found[index - 1].joint in {"|", "|&"}:
        index -= 1
    return found[index]


def _port_in(inner: Launch, script: str) -> bool | None:
    """A variable set from $PORT earlier in the script may be what the server is given."""
    if inner.honours_port is False and re.search(r"=[\"']?\$\{?PORT\b", script):
        return True
    return inner.honours_port


def _with(launch: Launch, *, signalled: bool | None, expands: bool, honours_port: bool | None) -> Launch:
    return Launch(
        launch.words,
        launch.server,
        signalled,
        expands,
        launch.everywhere,
        honours_port,
        launch.application,
    )


def of_words(words: tuple[str, ...], *, read: Read, environment: Mapping[str, str], expands: bool = False) -> Launch:
    """Judge a list of words that is run as it stands; `read` gives the text of a file of the service, or None."""
    words, group = shell.unwrap(words)
    if not words:
        return Launch((), "", None)
    launch = _unwrapped(words, read, environment, expands=expands)
    if group and launch.signalled is False:
        return _with(launch, signalled=True, expands=launch.expands, honours_port=launch.honours_port)
    return launch


def _unwrapped(words: tuple[str, ...], read: Read, environment: Mapping[str, str], *, expands: bool) -> Launch:
    name = base(words[0])
    if name in SHELLS:
        return _of_shell(words, read, environment)
    if name in SERVERS:
        return _of_server(name, words, read, environment, expands=expands)
    return _of_file(words, read, environment, expands=expands)


def _of_shell(words: tuple[str, ...], read: Read, environment: Mapping[str, str]) -> Launch:
    for index, word in enumerate(words[1:], start=1):
        if re.fullmatch(r"-[a-z]*c", word) and index + 1 < len(words):
            return of_script(words[index + 1], read=read, environment=environment, program=base(words[0]))
        if not word.startswith("-"):
            return _of_file(words[index:], read, environment, expands=True)
    return Launch(words, "", None)


def _of_file(words: tuple[str, ...], read: Read, environment: Mapping[str, str], *, expands: bool) -> Launch:
    """Judge an unknown program: a shell script of the service is read through, Python code is looked into."""
    python = shell.is_python(base(words[0]))
    module = python and words[1:2] == ("-m",) and len(words) > 2
    name = words[2] if module else words[1] if python and len(words) > 1 else words[0]
    text = _python(name, read) if module else read(name)
    if text is None:
        return Launch(words, "", None, expands)
    if re.match(r"#!.*\b(?:ba|da|a|z)?sh\b", text) or name.endswith(".sh"):
        if re.search(r"^\s*exec\s+[\"']?\$@", text, re.MULTILINE) and len(words) > 1:
            return of_words(words[1:], read=read, environment=environment, expands=expands)
        return of_script(_body(text), read=read, environment=environment)
    return Launch(words, "python", True, expands, None, True if _PORT.search(text) else None)


def _body(text: str) -> str:
    """Return a script without its comments and blank lines."""
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _python(module: str, read: Read) -> str | None:
    path = module.replace(".", "/")
    return read(f"{path}.py") or read(f"{path}/__main__.py")


def _of_server(
    name: str,
    words: tuple[str, ...],
    read: Read,
    environment: Mapping[str, str],
    *,
    expands: bool,
) -> Launch:
    host, port = _listens(name, words, read, environment)
    application = next((found[1] for word in words[1:] if (found := _APPLICATION.match(word))), None)
    return Launch(words, name, True, expands, _everywhere(host), _honours(port), application)


def _listens(
    name: str,
    words: tuple[str, ...],
    read: Read,
    environment: Mapping[str, str],
) -> tuple[str | None, str | None]:
    """Return the host and the port a server is told, its defaults filled in; None: told elsewhere."""
    if option(words, "--fd", "--uds") is not None:
        return None, None
    if name in {"gunicorn", "hypercorn"}:
        return _bound(name, words, read, environment)
    hosts, ports = {"daphne": (("-b", "--bind"), ("-p", "--port"))}.get(name, (("--host",), ("--port",)))
    host = option(words, *hosts) or environment.get(f"{name.upper()}_HOST")
    port = option(words, *ports) or environment.get(f"{name.upper()}_PORT")
    if name == "fastapi":
        return host or ("127.0.0.1" if "dev" in words else "0.0.0.0"), port or "$PORT"
    return host or "127.0.0.1", port or "8000"


def _bound(
    name: str,
    words: tuple[str, ...],
    read: Read,
    environment: Mapping[str, str],
) -> tuple[str | None, str | None]:
    asked = (*words, *environment.get("GUNICORN_CMD_ARGS", "").split())
    bind = option(asked, "-b", "--bind")
    if bind is None:
        configured = option(words, "-c", "--config") or (read("gunicorn.conf.py") and name == "gunicorn")
        if configured:
            return None, None
        return ("0.0.0.0", "$PORT") if name == "gunicorn" else ("127.0.0.1", "8000")
    if bind.startswith(("unix:", "fd:")):
        return None, None
    if bind.startswith("$"):
        return bind, bind
    host, colon, port = bind.rpartition(":")
    return (host, port) if colon else (bind, "8000")


def _everywhere(host: str | None) -> bool | None:
    if host is None or "$" in host:
        return None
    if host in _LOOPBACK or host.startswith("127."):
        return False
    return True if host in _EVERYWHERE else None


def _honours(port: str | None) -> bool | None:
    if port is None:
        return None
    if re.search(r"\$\{?PORT\b", port):
        return True
    return False if re.fullmatch(r"\d+", port) else None
