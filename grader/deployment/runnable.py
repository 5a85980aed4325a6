"""Start commands as this machine can run them: without the container, its wrappers and its folders."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from grader.deployment import shell
from grader.deployment.start import moves_code

if TYPE_CHECKING:
    from grader.deployment.image import Image
    from grader.deployment.tree import Tree

PATH = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
"""Where learners' processes find their programs."""

_OURS = frozenset(
    {"PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "TMPDIR"}
)
_BUILT_IN = frozenset({"cd", "set", "export", "echo", "true", "test", "[", ":", "trap", "wait", "umask", "ulimit", "."})


class NotRunnableError(Exception):
    """Only a container engine, or a machine with other programs, can run the command; the message says why."""


def of_procfile(tree: Tree, command: str) -> list[str]:
    """Return what runs a Procfile's line, as a platform does: by a shell. Raises `NotRunnableError`."""
    return ["sh", "-c", _script(tree, command)]


def of_image(tree: Tree, image: Image) -> list[str]:
    """Return what the image starts; an empty list when it starts nothing. Raises `NotRunnableError`."""
    steps = [step for step in (image.entrypoint, image.command) if step]
    if moves_code(tree, image):
        raise NotRunnableError("The image has the code elsewhere than this folder: only a container engine can run it.")
    if len(steps) == 1 and steps[0].words is None:
        return ["/bin/sh", "-c", _script(tree, steps[0].text)]
    given = tuple(word for step in steps for word in (step.words or ("/bin/sh", "-c", step.text)))
    words = list(shell.unwrap(given)[0])
    if len(words) > 2 and shell.base(words[0]) in shell.SHELLS and re.fullmatch(r"-[a-z]*c", words[1]):
        return [_program(tree, words[0]), words[1], _script(tree, words[2]), *words[3:]]
    return [_program(tree, words[0]), *words[1:]] if words else []


def environment(image: Image) -> dict[str, str]:
    """Return the image's ENV, without what only makes sense in its own folders."""
    return {name: found.value.text for name, found in image.settings.items() if name not in _OURS}


def _script(tree: Tree, script: str) -> str:
    """Return a script with the image's own paths of programs replaced by those of this machine."""
    for command in shell.commands(script):
        words = shell.unwrap(command.words)[0]
        if words and words[0] not in _BUILT_IN and "$" not in words[0]:
            found = _program(tree, words[0])
            if found != words[0] and words[0].startswith("/"):
                script = script.replace(words[0], shlex.quote(found))
    return script


def _program(tree: Tree, name: str) -> str:
    """Return a program by its name, or by where it is here; one that is merely not installed here is nobody's fault."""
    if shutil.which(name, path=PATH) or (tree.root / name).exists():
        return name
    short = shell.base(name)
    if name.startswith("/") and (found := shutil.which(short, path=PATH)):
        return found
    wanted = f"{tree.text('requirements.txt') or ''}\n{tree.text('pyproject.toml') or ''}"
    if name.startswith("/") or re.search(rf"^[\s\"']*{re.escape(short)}\b", wanted, re.MULTILINE):
        raise NotRunnableError(f"`{name}` is not on this machine: install it, or let a container engine run the image.")
    return name
