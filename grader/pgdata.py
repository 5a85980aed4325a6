"""PostgreSQL's files: programs that an unprivileged user may run, and fresh data directories by copy.

``initdb`` takes a second and a half of a busy machine, so it runs once a version; a copy of what it made takes a third
of that. PostgreSQL refuses to run as root: then user nobody runs it, from a cache that nobody may read but not write.
No user is created and no folder of anybody else's is opened up.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from grader.parts import PartFailedError, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from grader.supervisor import Supervisor

SUPERUSER = "grader"

INIT_LIMIT = 120.0
"""Seconds for initdb on a busy machine."""

_ABANDONED = 3600.0  # seconds
_CACHE = "production-deployment-workbook"


def server_user() -> str | None:
    """Return who runs the server: somebody else when we are root."""
    return "nobody" if os.getuid() == 0 else None


def cache_folder() -> Path:
    """Return where files live from run to run: root's must be readable to user nobody, so not in root's home."""
    home = Path("/var/cache") if os.getuid() == 0 else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / _CACHE


def runnable(program: Program) -> Program:
    """Return the program, or a copy of its installation that the server's user may run."""
    if not server_user() or _open_to_all(program.path):
        return program
    target = cache_folder() / f"postgres-{_key(program)}"
    package = program.path.parents[2]
    if not target.exists():
        _build(target, lambda building: _copy_install(package, building), mode=0o755)
    return Program(program.name, target / program.path.relative_to(package.parent), program.source)


def _copy_install(package: Path, building: Path) -> None:
    for folder in (package, package.with_name(f"{package.name}.libs")):  # RPATH leads from the one to the other
        if folder.exists():
            shutil.copytree(folder, building / folder.name, symlinks=True)


def _open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.resolve().parents))


def _key(program: Program) -> str:
    origin = hashlib.sha256(str(program.path).encode()).hexdigest()[:8]
    return f"{program.version}-{platform.machine()}-{origin}"


def _build(target: Path, fill: Callable[[Path], None], *, mode: int) -> None:
    """Fill a folder and put it in its place in one step; when two do so at once, either may win."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        target.parent.chmod(0o755)  # ours, whatever the umask
    for left in target.parent.glob(".building-*"):
        with contextlib.suppress(FileNotFoundError):  # somebody else may clear it away
            if time.time() - left.stat().st_mtime > _ABANDONED:  # by a run that was killed
                shutil.rmtree(left, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    try:
        fill(building)
        building.chmod(mode)
        with contextlib.suppress(OSError):
            building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def fresh(program: Program, directory: Path, supervisor: Supervisor) -> str:
    """Make ``directory`` a new data directory and return its superuser's password. Raises ``PartFailedError``."""
    template = cache_folder() / f"pgdata-{_key(program)}"
    if not template.exists():
        _build(template, lambda building: _initialise(program, building, supervisor), mode=0o700)
    shutil.rmtree(directory, ignore_errors=True)
    copied = subprocess.run(["cp", "-R", "-p", template / "data", directory], stderr=subprocess.PIPE, check=False)  # noqa: S607
    if copied.returncode:
        raise PartFailedError(f"PostgreSQL's data directory could not be made: {copied.stderr.decode()}")
    _give(directory, server_user())
    return (template / "password").read_text()


def discard_template(program: Program) -> None:
    """Forget what `fresh` keeps."""
    shutil.rmtree(cache_folder() / f"pgdata-{_key(program)}", ignore_errors=True)


def _initialise(program: Program, building: Path, supervisor: Supervisor) -> None:
    password, log = building / "password", building / "initdb.log"
    password.write_text(secrets.token_urlsafe(24))
    _give(building, server_user())
    argv = [str(program.path.with_name("initdb")), "-D", str(building / "data"), "-U", SUPERUSER]
    argv += ["--pwfile", str(password), "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
    process = supervisor.spawn(argv, env={"LC_ALL": "C"}, cwd=building, log=log, user=server_user())
    code = process.wait(INIT_LIMIT)
    process.stop(grace=0)
    if code != 0:
        raise PartFailedError(f"initdb ended with {code}: {log.read_text(errors='replace')[-500:]}")
    _give(building, "root" if server_user() else None)  # services may run as the same user, and must not change it


def _give(folder: Path, user: str | None) -> None:
    if user is None:
        return
    owner = pwd.getpwnam(user)
    for place, _, files in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in files)):  # noqa: PTH118  # a thousand of them
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
