"""Sandbox: what a stranger's process may see and reach, and how much of it this machine can enforce.

Three walls, each with what the others cannot do. Namespaces give a root folder, a /proc and a /tmp of their own.
Landlock makes what is shown read-only and leaves the TCP ports that the process's environment names. Seccomp closes
what would get round that. Landlock and seccomp work where a container forbids namespaces. All three are entered by the
process itself, since it is a fork of warm imports; a program that starts programs could not do that.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from grader import landlock, namespaces, seccomp

_HERE = Path(__file__).resolve().parent

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/sys/devices/system/cpu")
_SETTINGS = (
    *("alternatives", "ca-certificates", "ca-certificates.conf", "debian_version", "gai.conf", "group", "host.conf"),
    *("hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "login.defs"),
    *("mime.types", "nsswitch.conf", "os-release", "passwd", "pki", "postgresql-common", "protocols", "resolv.conf"),
    *("services", "ssl", "terminfo", "timezone"),
)
"""What programs read in /etc; passwords and keys of the machine are not among it."""

_COLD_START = ("serving.py", "limits.py", "tree.py")
"""What starts a service in a fresh interpreter; of the grader nothing else is ever shown, and of this a copy."""

_RANDOM: tuple[str, ...] = ("/dev/random", "/dev/urandom")
_OWN = (("/proc", *_RANDOM), ("/tmp", "/dev/shm", "/dev/null", "/dev/zero", "/dev/full"))  # noqa: S108  # nobody else's
"""What more may be read and what written where there is a root of its own."""

_FACTS = ("cpuinfo", "filesystems", "loadavg", "meminfo", "self", "stat", "uptime", "version")
_EVERYBODYS = ((*(f"/proc/{name}" for name in _FACTS), *_RANDOM), ("/dev/shm", "/dev/null"))  # noqa: S108
"""The same where there is none; semaphores lie in /dev/shm."""

_PORT = re.compile(r"//(?:[^/@\s]*@)?[^/@:\s]+:(\d{1,5})\b")

NEEDS = (
    "strangers' code needs Linux 6.7 or newer with Landlock, on x86-64 or arm64, and namespaces or Linux 6.12: "
    "use such a machine, or choose --isolate=off for people whose code you would run yourself"
)


class CannotIsolateError(Exception):
    """This machine cannot keep strangers in; the text says what to do."""


@dataclass(frozen=True)
class Confinement:
    """The walls around one process."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    ports: tuple[int, ...]
    root: str
    """An empty folder to lay a root out in; nothing where there are no namespaces."""
    boot: str
    """The folder with the package that starts a service in a fresh interpreter."""

    def to_dict(self) -> dict[str, object]:
        """Give it as JSON has it."""
        return asdict(self)

    def enter_processes(self) -> int:
        """Have what this process starts live among themselves; return who its children will take for their parent."""
        if not self.root:
            return os.getpid()
        namespaces.own_processes()
        return namespaces.OUTSIDE

    def enter(self) -> None:
        """Go inside for good, as the process that is to be confined. Raises ``OSError``."""
        landlock.renounce_privileges()
        if self.root:
            namespaces.own_files(self.root, self.readable, self.writable)
            namespaces.drop_capabilities()
        shown, given = _OWN if self.root else _EVERYBODYS
        landlock.restrict((*self.readable, *shown), (*self.writable, *given), self.ports)
        seccomp.install(unix_sockets=bool(self.root))


@dataclass(frozen=True)
class Sandbox:
    """The walls around the processes of a run: which of them there are, and where roots are laid out."""

    root: str
    boot: str

    @classmethod
    def at(cls, directory: Path) -> Sandbox:
        """Build the best walls that the machine has. Raises ``CannotIsolateError``."""
        if not (seccomp.supported() and landlock.version() >= landlock.NETWORK):
            raise CannotIsolateError(NEEDS)
        root, boot = directory / "root", directory / "boot"
        root.mkdir()
        (boot / "grader").mkdir(parents=True)
        (boot / "grader" / "__init__.py").touch()
        for name in _COLD_START:
            shutil.copy(_HERE / name, boot / "grader")
        if _works(_try_namespaces):
            return cls(str(root), str(boot))
        if landlock.version() >= landlock.SIGNALS:
            return cls("", str(boot))
        raise CannotIsolateError(NEEDS)

    @property
    def walls(self) -> str:
        """Name them, for the report."""
        return f"landlock {landlock.version()}, seccomp" + (", namespaces" if self.root else "")

    def around(self, env: Mapping[str, str], cwd: Path, ports: Iterable[int], writable: Iterable[Path]) -> Confinement:
        """Choose what a process needs: its folder, its home, its database, and the ports that its environment names."""
        own = {str(cwd), *map(str, writable), *(env[name] for name in ("HOME", "TMPDIR") if name in env)}
        own.update(_database_folders(env))
        open_ports = {*ports, *(int(found) for value in env.values() for found in _PORT.findall(value))}
        if env.get("PORT", "").isdecimal():
            open_ports.add(int(env["PORT"]))
        readable = (*_readable(env), self.boot)
        return Confinement(readable, tuple(sorted(own)), tuple(sorted(open_ports)), self.root, self.boot)


def _database_folders(env: Mapping[str, str]) -> list[str]:
    address = urlsplit(env.get("DATABASE_URL", ""))
    path = Path(address.path[1:])
    return [str(path.parent)] if address.scheme.startswith("sqlite") and path.is_absolute() else []


def _readable(env: Mapping[str, str]) -> list[str]:
    """The system, Python and its packages, without what is the grader's."""
    programs = [folder for folder in env.get("PATH", "").split(os.pathsep) if folder]
    python = [sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parents[1])]
    wanted = [*_SYSTEM, *(f"/etc/{name}" for name in _SETTINGS), *python, *programs]
    resolved = {str(place) for path in wanted for place in (Path(path), Path(path).resolve())}
    shown = [place for path in sorted(resolved) for place in _without(Path(path), _HERE)]
    return [*map(str, shown)]


def _without(path: Path, hidden: Path) -> list[Path]:
    """Return the folder, or, where it holds what is hidden, everything in it but that."""
    if path == hidden or not os.access(path, os.R_OK):
        return []
    if not hidden.is_relative_to(path):
        return [path]
    return [place for one in sorted(path.iterdir()) for place in _without(one, hidden)]


def take_network() -> bool:
    """Leave the machine's network for good, with all that this process will start; whether the system granted it.

    Servers that somebody named by their address would be out of reach, so then it is not done.
    """
    if not (sys.platform == "linux" and _works(namespaces.own_network)):
        return False
    if any(os.environ.get(name) for name in ("REDIS_URL", "POSTGRES_URL")):
        return False
    namespaces.own_network()
    return True


def _try_namespaces() -> None:
    """Do once what every confined process will do."""
    with TemporaryDirectory() as folder:
        first = namespaces.own_processes()
        child = os.fork()
        if not child:
            code = 1
            try:
                os.chdir("/")
                namespaces.own_files(folder, ("/usr",))
                namespaces.drop_capabilities()
                code = 0
            finally:
                os._exit(code)
        failed = os.waitpid(child, 0)[1]
        os.kill(first, 9)
        os.waitpid(first, 0)
    if failed:
        raise OSError("a root of its own could not be laid out")


def _works(attempt: Callable[[], object]) -> bool:
    """Whether something can be done here, found out in a process that does it."""
    process = multiprocessing.get_context("fork").Process(target=partial(_quietly, attempt), daemon=True)
    process.start()
    process.join(60)  # on a machine however busy
    return process.exitcode == 0


def _quietly(attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except OSError:
        os._exit(1)
