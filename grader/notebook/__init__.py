"""What a notebook says: `%load_ext grader`, then `%service start`, `%%app`, `%grade 4`, `%hint`, `%stack`, `%bill`.

Importing this package starts nothing; the servers of a notebook start with the first magic that needs them, in
processes of their own, and end with the kernel, however it ends.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from grader.notebook.judge import TODO, exercise
    from grader.notebook.standing import progress

__all__ = ["TODO", "exercise", "load_ipython_extension", "progress"]

_HOMES = {"TODO": "judge", "exercise": "judge", "progress": "standing"}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Put the course's magics into a shell; IPython calls this for `%load_ext grader`."""
    from grader.notebook.magics import CourseMagics  # noqa: PLC0415 - needs IPython, which the grader does not

    shell.register_magics(CourseMagics(shell))


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"grader.notebook.{_HOMES[name]}"), name)
