"""Make `.venv` from requirements.lock: what `make` does before anything else.

Nothing is installed yet when this runs, so it imports the standard library only. uv does the installing, in seconds;
it comes by pip, pinned and hash-checked like all the rest, and where it cannot be had pip does its work.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MISLEADING = {
    *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"),
    *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_PYTHON"),
    *("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_TARGET", "UV_PREFIX"),
}
"""Settings that would send packages somewhere else. Those of indexes, proxies and caches stay."""

NO_PIP = """\
{python} has no pip and no ensurepip, so nothing can be installed with it. One of these helps:
  Debian, Ubuntu   sudo apt install python3-venv
  any system       install uv, or name another Python:  make PYTHON=/path/to/python3.12"""


class Trouble(Exception):  # noqa: N818 - what a reader is told, not a fault of this program
    """Set-up cannot go on; the message says what the reader can do."""


def say(text: str, end: str = "\n") -> None:
    """Tell the reader, on stderr, since stdout may be the report that somebody asked for."""
    erase = "\033[K" if sys.stderr.isatty() else ""
    print(f"{text}{erase}", end=end, file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """Return the caller's environment for the installers."""
    kept = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def output(*command: str | Path) -> str | None:
    """Return what a command prints, or None when it fails or is not there."""
    try:
        done = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def base_of(python: str | Path) -> str | None:
    """Return the installation behind an interpreter; None when the interpreter does not start."""
    return output(python, "-c", "import os, sys; print(os.path.realpath(sys._base_executable))")


def pinned(lock: str, name: str) -> str:
    """Return the lines of a lock that pin one package, hashes included."""
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    if found is None:
        raise Trouble(f"requirements.lock does not pin {name}: `git checkout requirements.lock` brings it back.")
    return found[0]


@dataclass(frozen=True)
class Venv:
    """The `.venv` of one checkout, ready when its stamp is there."""

    root: Path
    stamp: str
    """Name of a file in the folder; `make` derives it from what the folder is made of."""

    @property
    def folder(self) -> Path:
        """Where the packages go."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The interpreter that sees the packages."""
        return self.folder / "bin" / "python"

    @property
    def lock(self) -> Path:
        """Every package that belongs inside, pinned, with hashes."""
        return self.root / "requirements.lock"

    @property
    def unfinished(self) -> Path:
        """A file that exists from the first change until the last one has worked."""
        return self.folder / ".unfinished"

    def is_ready(self) -> bool:
        """Tell whether there is nothing to do."""
        return (self.folder / self.stamp).exists()

    def is_sound(self, wanted: str | None) -> bool:
        """Tell whether the folder can be brought up to date where it is: whole, not moved, of the wanted Python."""
        base = base_of(self.python)
        if base is None or self.unfinished.exists():
            return False
        if any(stamp.read_text() != str(self.root) for stamp in self.folder.glob(".ready-*")):
            return False
        return wanted is None or base == base_of(wanted)

    def open(self, wanted: str | None) -> None:
        """Have a folder that can be installed into, made anew where the old one is not sound."""
        if self.is_sound(wanted):
            say("Bringing .venv up to date")
        else:
            base = base_of(sys.executable) or sys.executable
            say(f"Setting up .venv with Python {sys.version.split()[0]} (only now; half a minute on a good line)")
            if output(base, "-m", "venv", "--clear", "--without-pip", "--prompt", "workbook", self.folder) is None:
                raise Trouble(f"`{base} -m venv {self.folder}` failed: run it by hand to see why.")
        self.unfinished.touch()

    def close(self) -> None:
        """Note that all is there."""
        for stamp in self.folder.glob(".ready-*"):
            stamp.unlink()
        (self.folder / self.stamp).write_text(str(self.root))
        self.unfinished.unlink()

    def pip(self) -> list[str] | None:
        """Return a pip command that installs into the folder: the copy that Python bundles, or the base's own."""
        bundles = [Path(sysconfig.get_path("stdlib"), "ensurepip", "_bundled"), Path("/usr/share/python-wheels")]
        wheels = [wheel for bundle in bundles for wheel in bundle.glob("pip-*.whl")]
        if wheels:
            return [str(self.python), str(wheels[0] / "pip"), "install"]
        base = base_of(sys.executable) or sys.executable
        has_pip = output(base, "-m", "pip", "--version") is not None
        return [base, "-m", "pip", "--python", str(self.python), "install"] if has_pip else None

    def uv(self) -> list[str] | None:
        """Return a uv command that installs into the folder; None where uv cannot be had."""
        own = self.folder / "bin" / "uv"
        requirement = pinned(self.lock.read_text(), "uv")
        pin = requirement.split()[0].replace("==", " ")
        if pip := self.pip():
            if not (output(own, "--version") or "").startswith(pin):
                with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                    file.write(requirement)
                    file.flush()
                    output(*pip, "--quiet", "--require-hashes", "--no-deps", "-r", file.name)
            found = str(own) if own.exists() else None
        else:
            found = shutil.which("uv")
        return [found, "pip", "install", "--python", str(self.python)] if found else None


def cached(uv: Sequence[str]) -> list[str]:
    """Return the uv command, told to do without its cache where that cannot be written (a read-only home)."""
    folder = output(uv[0], "cache", "dir")
    try:
        Path(folder or "").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return list(uv)
    except OSError:
        return [*uv, "--no-cache"]


def run(command: Sequence[str], what: str) -> bool:
    """Run an installer to its end, showing the seconds on a terminal; its complaints go to stderr."""
    started = time.monotonic()
    with subprocess.Popen([*command, "--quiet"], env=environment(), stdout=sys.stderr, close_fds=False) as process:
        while True:
            try:
                return process.wait(timeout=1) == 0
            except subprocess.TimeoutExpired:
                if sys.stderr.isatty():
                    say(f"{what} … {time.monotonic() - started:.0f} s", end="\r")


def install(venv: Venv) -> None:
    """Install the lock and then the workbook itself, editable, with uv or else with pip."""
    uv, pip = venv.uv(), venv.pip()
    if uv is None and pip is None:
        raise Trouble(NO_PIP.format(python=base_of(sys.executable)))
    count = len(re.findall(r"^[a-z0-9].*==", venv.lock.read_text(), re.MULTILINE))
    lock = ["--no-deps", "--require-hashes", "-r", str(venv.lock)]  # the lock is complete
    itself = ["--no-deps", "--no-build-isolation", "-e", str(venv.root)]
    installers = [("uv", cached(uv))] if uv else []
    installers += [("pip", pip)] if pip else []
    for name, command in installers:
        what = f"Installing {count} packages with {name}"
        if run([*command, *lock], what) and run([*command, *itself], what):
            return
        say(f"{what} failed, see above.{' Trying pip, which takes minutes.' * (name == 'uv')}")
    raise Trouble("The packages could not be installed. Is the network there, and room on the disk? Then run it again.")


def main(stamp: str, wanted: str | None = None) -> int:
    """Bring `.venv` up to date, one call at a time; return 1 with an explanation when that cannot be done.

    `wanted` is the Python that the caller asked for; without it an environment of another version is kept.
    """
    venv = Venv(Path(__file__).resolve().parent.parent, stamp)
    with venv.lock.open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        os.set_inheritable(turn.fileno(), True)  # an installer that outlives us keeps the turn
        if venv.is_ready():
            return 0
        started = time.monotonic()
        try:
            venv.open(wanted)
            install(venv)
        except (Trouble, KeyboardInterrupt) as trouble:
            say(str(trouble) or "Interrupted: the next call starts over.")
            return 1
        venv.close()
        say(f"Ready after {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
