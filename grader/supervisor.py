"""Supervisor: starts the processes of a run, and proves them gone.

A small helper program (`grader.launcher`) owns them. It lives in a session of its own, adopts daemons, and notices when
the grader has ended in whatever way; then everything it started ends too. Two kinds are of use: a bare one for servers,
and one that imports what services share, so that each service is a fork of warm imports.

Forks of the grader may go on to use its supervisors: what a fork starts ends with that fork.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from grader import tree
from grader.launcher import KEEPER_LIMIT
from grader.process import KeeperLostError, Process, SupervisorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grader.sandbox import Sandbox

__all__ = ["Limits", "Process", "Supervisor", "SupervisorError"]

_ROOT = Path(__file__).resolve().parents[1]
_BOOT = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from grader.launcher import main; del sys.path[0]; main()"

_END_LIMIT = KEEPER_LIMIT + 2.0


@dataclass(frozen=True)
class Limits:
    """What one process may take (setrlimit(2)); ``None`` leaves it as it is.

    ``processes`` counts those beyond what the user runs now, and the system does not apply it to root. What begins with
    ``tree`` is for the process and all that it starts, together; it is looked at once a second, and ends them (Linux).
    """

    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    file_bytes: int | None = None
    open_files: int | None = None
    processes: int | None = None
    tree_bytes: int | None = None
    tree_processes: int | None = None

    def chosen(self) -> dict[str, int]:
        """Return those that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def _helper_environment() -> dict[str, str]:
    """Only what imports need: forks show it as theirs in /proc, and one thread for BLAS keeps forks safe."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**kept, **threads, "LANG": "C.UTF-8", "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}


class Supervisor:
    """Owns processes; a context manager, safe to use from threads and forks."""

    def __init__(
        self, *, preload: Sequence[str] = (), scratch: Path | None = None, sandbox: Sandbox | None = None
    ) -> None:
        """Start the helper, which imports ``preload`` in the background and removes ``scratch`` at the end.

        With a ``sandbox`` everything that is started here is a stranger's.
        """
        self.sandbox = sandbox
        self._owner = os.getpid()
        self._started: set[Process] = set()
        self._lifeline, lifeline = socket.socketpair()
        self._requests, requests = socket.socketpair()
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the helper
        with lifeline, requests:
            numbers = (lifeline.fileno(), requests.fileno())
            self._helper = subprocess.Popen(
                [sys.executable, "-s", "-P", "-c", _BOOT, *map(str, numbers), str(scratch or ""), *preload],
                pass_fds=numbers,
                env=_helper_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._last_words,
                start_new_session=True,
            )
        _alive.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The helper's process id."""
        return self._helper.pid

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        fds: Sequence[int] = (),
        limits: Limits | None = None,
        user: str | None = None,
        writable: Sequence[Path] = (),
    ) -> Process:
        """Start a program; ``fds`` keep their numbers there. Raises the ``OSError`` that prevented it.

        In a sandbox it may write below its folder and its home, and into the ``writable`` folders.
        """
        order: dict[str, object] = {"argv": list(argv), "user": user}
        if self.sandbox:
            order["sandbox"] = self.sandbox.around(env, cwd, (), writable).to_dict()
        return self._start(order, env=env, cwd=cwd, log=log, fds=fds, limits=limits)

    def serve(
        self,
        app: str,
        *,
        factory: bool,
        env: Mapping[str, str],
        cwd: Path,
        listener: socket.socket,
        log: Path,
        limits: Limits | None = None,
    ) -> Process:
        """Do what ``uvicorn APP`` does in the folder ``cwd``, on a listening socket; waits for the imports."""
        order: dict[str, object] = {"app": app, "factory": factory}
        if self.sandbox:
            order["sandbox"] = self.sandbox.around(env, cwd, [listener.getsockname()[1]], ()).to_dict()
        return self._start(order, env=env, cwd=cwd, log=log, fds=(listener.fileno(),), limits=limits)

    def _start(
        self,
        order: dict[str, object],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        fds: Sequence[int],
        limits: Limits | None,
    ) -> Process:
        if self._last_words.closed:
            raise SupervisorError("The supervisor is closed")
        order |= {"env": dict(env), "cwd": str(cwd), "log": str(log), "fds": list(fds)}
        order |= {"limits": limits.chosen() if limits else {}}
        channel, keeper_end = socket.socketpair()
        process = Process(channel, log)
        with keeper_end, contextlib.suppress(OSError):  # a helper that has ended is noticed below
            socket.send_fds(self._requests, [b"+"], [keeper_end.fileno()])
        try:
            process.start(order, fds)
        except KeeperLostError:
            if not self._helper_is_there():
                raise SupervisorError(f"The helper has ended: {self._read_last_words()}") from None
        self._started.difference_update([other for other in list(self._started) if other.poll() is not None])
        self._started.add(process)
        return process

    def _helper_is_there(self) -> bool:
        try:
            return bool(self._requests.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _read_last_words(self) -> str:
        self._last_words.seek(0)
        return self._last_words.read().decode(errors="replace")[-2000:]

    def descendants(self) -> list[int]:
        """Return every process below the helper: keepers, what they started, and what that left behind."""
        return tree.descendants(self._helper.pid)

    def close(self) -> None:
        """End everything that this process started here and, where the supervisor was made, the helper; idempotent."""
        for process in list(self._started):
            process.close()
        self._started.clear()
        if os.getpid() != self._owner or self._helper.returncode is not None:
            return
        with self._lifeline, contextlib.suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)
            self._lifeline.settimeout(_END_LIMIT)
            self._lifeline.recv(1)  # its end: the helper has gone
        self._requests.close()
        self._make_sure()
        self._last_words.close()
        _alive.discard(self)

    def _make_sure(self) -> None:
        """Kill a helper that does not answer, with all below it: somebody may have stopped it."""
        try:
            self._helper.wait(0.5)
        except subprocess.TimeoutExpired:
            tree.kill_descendants(self._helper.pid)
            self._helper.kill()
            self._helper.wait()

    def disown(self) -> None:
        """Let go of the helper's lifeline, in a fork: the helper shall end with the process that made it."""
        self._lifeline.close()
        self._started.clear()


_alive: weakref.WeakSet[Supervisor] = weakref.WeakSet()


def _disown_all() -> None:
    for supervisor in list(_alive):
        supervisor.disown()


os.register_at_fork(after_in_child=_disown_all)
