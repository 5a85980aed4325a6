"""Serving: what the process that runs a learner's service does, forked from warm imports or started cold.

Both ways end in the same as ``uvicorn app.main:app`` on a socket that the grader bound, so that the learner sees the
log lines, tracebacks and exit codes of uvicorn's own command.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from grader import limits, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

_HERE = Path(__file__).resolve().parent

_READ_AT_IMPORT = (
    "PYTHON",
    "LD_",
    "DYLD_",
    "MALLOC_",
    "OMP_",
    "OPENBLAS_",
    "PROMETHEUS_",
    "OPENAI_LOG",
    "LANGCHAIN_",
    "LANGSMITH_",
    "PYDANTIC_",
    "DISABLE_SQLALCHEMY",
)
"""Beginnings of variables that are read before the first line of the app runs, so that warm imports would miss them."""

_HARMLESS = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}  # as we run it anyway


def forkable(root: str, env: Mapping[str, str]) -> bool:
    """Tell whether warm imports behave as cold ones for a service in ``root``.

    They do not where a file of the learner has the name of a module that is imported already, nor where the environment
    changes what an import does.
    """
    if any(name.startswith(_READ_AT_IMPORT) and name not in _HARMLESS for name in env):
        return False
    with os.scandir(root) as entries:
        return not any(_module_name(Path(entry.path)) in sys.modules for entry in entries)


def _module_name(path: Path) -> str:
    if path.suffix in {".py", ".so"}:
        return path.name.partition(".")[0]
    return path.name if (path / "__init__.py").exists() else ""


def is_warm(argv: Sequence[str]) -> bool:
    """Tell whether a command line is that of a background worker whose imports are there already."""
    return argv[0] == "celery" and "celery.apps.worker" in sys.modules


def cold_argv(app: str, factory: bool, listener: int, home: str = str(_HERE.parent)) -> list[str]:
    """Return the command that serves in a fresh interpreter, which finds the package ``grader`` in ``home``."""
    imports = f"sys.path.insert(0, {home!r}); from grader.serving import run_cold; del sys.path[0]"
    boot = f"import sys; {imports}; run_cold()"
    return [sys.executable, "-s", "-P", "-c", boot, app, str(int(factory)), str(listener)]


def run_cold() -> None:
    """Serve as the command of `cold_argv` asks."""
    app, factory, listener = sys.argv[1:]
    _serve(app, factory=factory == "1", listener=int(listener))


def run_forked(order: Mapping[str, Any], output: int, parent: int, go_inside: Callable[[], None]) -> None:
    """Turn a fork of a warm interpreter into a fresh process, confined if it is to be, then serve."""
    os.setsid()
    tree.die_with_parent(signal.SIGKILL, parent)
    _take_descriptors(output, order["fds"])
    _reset_signals()
    _replace_environment(order["env"])
    os.umask(0o022)
    os.chdir(order["cwd"])
    limits.apply(order["limits"])
    go_inside()
    _forget_the_past()
    try:
        if "argv" in order:
            _work(order["argv"])
        else:
            _serve(order["app"], factory=order["factory"], listener=order["fds"][0])
    except SystemExit as leaving:
        code = leaving.code or 0
        _Ending.status = code & 0xFF if isinstance(code, int) else 1
        raise
    _Ending.status = 0


class _Ending:
    """How this process, a fork of a warm interpreter, ends; ``None`` before that is known."""

    status: int | None = None


def end_without_taking_apart() -> None:
    """Let forks end before the interpreter takes its modules apart, which would copy every page that they share.

    To be called before anything else is registered with `atexit`, so that what is ends before us.
    """
    atexit.register(_end)


def _end() -> None:
    if _Ending.status is None:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads any more; Python says it so
        _Ending.status = _Ending.status or 120
    os._exit(_Ending.status)


def _take_descriptors(output: int, kept: Collection[int]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, number in ((null, 0), (output, 1), (output, 2)):
        os.dup2(fd, number)
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  # names only
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:  # the descriptor of the listing itself
                continue


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as Python sets them
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _replace_environment(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    time.tzset()


def _forget_the_past() -> None:
    """Leave no trace of the launcher in what the service can see."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "grader"]:
        del sys.modules[name]
    sys.modules["__main__"] = ModuleType("__main__")


def _serve(app: str, *, factory: bool, listener: int) -> None:
    """Do what ``uvicorn APP`` does; as there, the folder comes first on the path only once uvicorn is imported."""
    import logging  # noqa: PLC0415  # the supervisor itself does without, and starts the sooner

    import uvicorn  # noqa: PLC0415

    sys.path.insert(0, str(Path.cwd()))
    _appear_as("uvicorn", app, *(["--factory"] if factory else []))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started and sockets:
                host, port = sockets[0].getsockname()[:2]
                said = "Uvicorn running on http://%s:%d (Press CTRL+C to quit)"
                logging.getLogger("uvicorn.error").info(said, host, port)

    config = uvicorn.Config(app, factory=factory)
    server = Server(config)
    try:
        if hasattr(config, "load_app"):  # older versions load it in `run`
            config.load_app()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[socket.socket(fileno=listener)])
    except Exception as error:  # noqa: BLE001  # uncaught, as far as the learner is concerned
        shown = error.with_traceback(_theirs(error.__traceback__))
        sys.excepthook(type(shown), shown, shown.__traceback__)
        sys.exit(1)
    if not server.started:
        sys.exit(3)


def _work(argv: Sequence[str]) -> None:
    """Do what ``celery`` does as a command."""
    from celery.__main__ import main  # noqa: PLC0415  # only in a fork of an interpreter that has it

    _appear_as(*argv)
    sys.exit(main())


def _appear_as(script: str, *arguments: str) -> None:
    """Have the process look like a script of the environment that was started with arguments."""
    sys.argv = [str(Path(sys.executable).with_name(script)), *arguments]
    tree.show_as([sys.executable, *sys.argv])
    sys.dont_write_bytecode = True
    out, err = _line_buffered(1, "strict"), _line_buffered(2, "backslashreplace")
    vars(sys).update(stdout=out, __stdout__=out, stderr=err, __stderr__=err)


def _line_buffered(fd: int, errors: str) -> TextIO:
    """Return a stream as Python makes it for a terminal, so that no print is lost or late."""
    return open(fd, "w", buffering=1, encoding="utf-8", errors=errors, closefd=False)


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """Leave our own frames out at the beginning of a traceback."""
    while trace and Path(trace.tb_frame.f_code.co_filename).parent == _HERE:
        trace = trace.tb_next
    return trace
