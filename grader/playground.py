"""Playground: a learner's service with a Redis, a model and callers of its own, to try things by hand."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from grader import workspace
from grader.cli import Parser
from grader.course import ROOT
from grader.parts import PartFailedError, PartMissingError
from grader.spool import LogReader
from grader.stack import Stack
from grader.submission import BadSubmissionError, Submission
from grader.supervisor import Process, Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"

KEYS = {"user": "lab-user-key", "admin": "lab-admin-key", "guest": "lab-guest-key"}
USERS = {"ada": "admin", "bob": "user", "eve": "guest"}
PASSWORD = "correct-horse-9"  # noqa: S105 - of made-up users, on this machine only

PROVIDER_LIMIT = 30.0
"""Seconds for the provider to be ready, on a machine that is busy."""


def main(words: Sequence[str]) -> int:
    """Run the service in the foreground until Ctrl-C; its exit code, or 2 when it cannot be started."""
    parser = Parser(prog="course serve", description="Run your service with a Redis, a model and callers of its own.")
    parser.add_argument("--service", type=Path, default=workspace.service(), metavar="DIR", help="its folder")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes any that is free")
    parser.add_argument("--worker", action="store_true", help="also run the background worker (lab 9)")
    parser.add_argument(
        "--no-reload", dest="reload", action="store_false", help="do not start anew when a file changes"
    )
    options = parser.parse_args(words)
    try:
        submission, port = Submission.at(options.service), _free_port(options.port)
    except (BadSubmissionError, OSError) as problem:
        parser.error(str(problem))
    with tempfile.TemporaryDirectory() as folder, Supervisor(scratch=Path(folder)) as supervisor:
        try:
            return _play(submission, port, supervisor, Path(folder), reload=options.reload, worker=options.worker)
        except (PartMissingError, PartFailedError) as problem:
            parser.error(str(problem))


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise OSError(f"port {port} is taken; `course serve --port 0` takes one that is free") from None
        return int(probe.getsockname()[1])


def _play(
    submission: Submission, port: int, supervisor: Supervisor, folder: Path, *, reload: bool, worker: bool
) -> int:
    with Stack(supervisor, folder / "stack") as stack:
        model = _provider(supervisor, folder)
        env = environment(model, stack.redis.url)
        print(_welcome(port, env, model.get("page")), flush=True)
        command = [sys.executable, "-m", "uvicorn", submission.app, "--host", HOST, "--port", str(port)]
        command += ["--factory"] * submission.factory + ["--reload"] * reload
        command += ["--use-colors" if sys.stdout.isatty() else "--no-use-colors"]
        running = [supervisor.spawn(command, env=env, cwd=submission.root, log=folder / "service.log")]
        if worker:
            argv = [str(Path(sys.executable).parent / submission.worker[0]), *submission.worker[1:]]
            running.append(supervisor.spawn(argv, env=env, cwd=submission.root, log=folder / "worker.log"))
        return _follow(running)


def _provider(supervisor: Supervisor, folder: Path) -> dict[str, str]:
    """Start the model and return how it is reached; nothing where the caller's environment names another one."""
    if os.environ.get("OPENAI_BASE_URL"):
        return {}
    log = folder / "provider.log"
    command = [sys.executable, "-P", "-m", "grader.provider"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = supervisor.spawn(command, env=env, cwd=folder, log=log)
    if not process.wait_for_output("Ctrl-C ends it", PROVIDER_LIMIT):
        raise PartFailedError(f"The model did not start: {log.read_text(errors='replace')[-500:]}")
    said = log.read_text(encoding="utf-8")
    page = [("page", url) for url in re.findall(r"bill and faults: (\S+)", said)]
    return dict(re.findall(r"export (\w+)=(\S+)", said) + page)


def environment(model: Mapping[str, str], redis_url: str) -> dict[str, str]:
    """Return what the service is started with: the caller's own variables win over ours."""
    database = workspace.home() / "playground.db"
    database.parent.mkdir(parents=True, exist_ok=True)
    ours = {
        "OPENAI_BASE_URL": model.get("OPENAI_BASE_URL", ""),
        "OPENAI_API_KEY": model.get("OPENAI_API_KEY", ""),
        "DATABASE_URL": f"sqlite:///{database.resolve()}",
        "FORWARDED_ALLOW_IPS": "",
        "PYTHONUNBUFFERED": "1",
    }
    return {**callers(), **ours, **os.environ, "REDIS_URL": redis_url}


def callers() -> dict[str, str]:
    """Return the variables that tell a service who may call."""
    clients = {role: hashlib.sha256(key.encode()).hexdigest() for role, key in KEYS.items()}
    return {
        "API_KEYS": json.dumps({digest: {"client": f"lab-{role}", "role": role} for role, digest in clients.items()}),
        "SEED_USERS": json.dumps([{"username": u, "password": PASSWORD, "role": r} for u, r in USERS.items()]),
        "JWT_SECRET": "for-your-own-machine-only-0123456789",
        "JWT_ISSUER": "http://localhost",
        "JWT_AUDIENCE": "playground",
    }


def _welcome(port: int, env: Mapping[str, str], page: str | None) -> str:
    url = f"http://{HOST}:{port}"
    key, json_type = f"-H 'X-API-Key: {KEYS['user']}'", "-H 'Content-Type: application/json'"
    hello = shlex.quote(json.dumps({"message": "Why is the sky blue?"}))
    lines = [
        f"Your service   {url}   documentation: {url}/docs",
        f"The model      {env['OPENAI_BASE_URL']}" + (f"   calls, bill and faults: {page}" if page else ""),
        f"Redis          {env['REDIS_URL']}",
        f"API keys       {'  '.join(KEYS.values())}",
        f"Users          {'  '.join(f'{user} ({role})' for user, role in USERS.items())}, password {PASSWORD}",
        "",
        f"  curl -i {url}/health",
        f"  curl -i {url}/chat {key} {json_type} -d {hello}",
        f"  curl -N {url}/chat/stream {key} {json_type} -d {hello}",
        f"  curl -i {url}/login -d username=ada -d password={PASSWORD}",
        "",
        "Ctrl-C ends all of it. What your service says:",
        "",
    ]
    return "\n".join(lines)


def _follow(running: Sequence[Process]) -> int:
    """Show what the processes write until the first one ends; its exit code, or 0 after Ctrl-C."""
    readers = [LogReader(process.log) for process in running]
    try:
        while running[0].wait(0.1) is None:
            _show(readers)
    except KeyboardInterrupt:
        for process in running:
            process.stop()
        print()
    else:
        _show(readers)
        return running[0].poll() or 0
    finally:
        for reader in readers:
            reader.close()
    return 0


def _show(readers: Sequence[LogReader]) -> None:
    for reader in readers:
        sys.stdout.buffer.write(reader.read())
    sys.stdout.flush()
