"""`make stack-up` and `make stack-down`: the lab stack in the background, without containers."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import dotenv

from grader import workspace
from grader.cli import Parser
from grader.course import ROOT
from grader.local_stack import LocalStack
from grader.parts import PartFailedError, PartMissingError
from grader.spool import LogReader
from grader.submission import BadSubmissionError, Submission
from grader.supervisor import Supervisor

READY = "The stack is up."
UP_LIMIT = 300.0
"""Seconds for all parts to start, one after another, on a machine that is busy."""

DOWN_LIMIT = 60.0
"""Seconds for all parts to end."""


def main(words: Sequence[str]) -> int:
    """Do `up`, `down` or `run` (in the foreground); exit code 2 with a sentence when that cannot be done."""
    parser = Parser(prog="make stack-up", description="The lab stack without containers.")
    parser.add_argument("verb", choices=("up", "down", "run"))
    verb = parser.parse_args(words).verb
    try:
        return {"up": up, "down": down, "run": run}[verb]()
    except (BadSubmissionError, PartMissingError, PartFailedError) as problem:
        print(f"stack: {problem}", file=sys.stderr)
        return 2


def folder() -> Path:
    """Return where the stack keeps its files."""
    found = workspace.home() / "stack"
    found.mkdir(parents=True, exist_ok=True)
    return found


def settings() -> dict[str, str]:
    """Return the values of `.env`, which is made with fresh secrets when there is none; the environment wins."""
    path = workspace.root() / ".env"
    if not path.exists():
        made = subprocess.run(
            [sys.executable, ROOT / "stack" / "new_env.py"], capture_output=True, text=True, check=True
        )
        path.write_text(made.stdout, encoding="utf-8")
        path.chmod(0o600)
        print(f"Made {workspace.short(path)} with fresh secrets and callers.", flush=True)
    known = {name: value or "" for name, value in dotenv.dotenv_values(path, interpolate=False).items()}
    return known | {name: os.environ[name] for name in known if os.environ.get(name)}


def run() -> NoReturn:
    """Run the stack in the foreground until Ctrl-C or SIGTERM."""
    lock = (folder() / "lock").open("a+")  # for the life of the process, whose end frees it
    if not _take(lock.fileno()):
        raise PartFailedError("The stack is up already; `make stack-down` ends it.")
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    values = settings()
    submission = Submission.at(workspace.root() / (values.get("COURSE_SERVICE") or workspace.SERVICE))
    with Supervisor() as supervisor:
        stack = LocalStack(supervisor, folder(), values)
        try:
            stack.start(submission)
            print(_welcome(stack, submission), flush=True)
            stack.keep_up()
        finally:
            stack.close()


def up() -> int:
    """Start `run` in a session of its own and wait until all of it answers."""
    log = folder() / "stack.log"
    log.write_text("")
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "grader.stack_command", "run"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    reader, until = LogReader(log), time.monotonic() + UP_LIMIT
    try:
        while time.monotonic() < until:
            ended = process.poll()
            said = reader.read().decode(errors="replace")
            print(said, end="", flush=True)
            if READY in said:
                return 0
            if ended is not None:
                return ended or 2
            time.sleep(0.1)
    except KeyboardInterrupt:
        process.terminate()
        process.wait(DOWN_LIMIT)
        raise
    process.terminate()
    raise PartFailedError(f"The stack is not up after {UP_LIMIT:.0f} s; what it said is in {workspace.short(log)}.")


def down() -> int:
    """End the stack, and wait until it is gone."""
    with (folder() / "lock").open("a+") as lock:
        if _take(lock.fileno()):
            print("The stack is not up.")
            return 0
        lock.seek(0)
        os.kill(int(lock.read()), signal.SIGTERM)
        until = time.monotonic() + DOWN_LIMIT
        while not _take(lock.fileno()):
            if time.monotonic() > until:
                raise PartFailedError(f"The stack has not ended after {DOWN_LIMIT:.0f} s; try again.")
            time.sleep(0.1)
    print("The stack is down.")
    return 0


def _end(_number: int, _frame: object) -> NoReturn:
    """End once: by way of every `finally`, and whatever comes later does not disturb that."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def _take(lock: int) -> bool:
    """Take the lock that the running stack holds, whoever started it; the system frees it with its process."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _welcome(stack: LocalStack, submission: Submission) -> str:
    width = max(map(len, stack.addresses))
    lines = [f"{name:{width}}  {address}" for name, address in stack.addresses.items()]
    about = f"It serves {workspace.short(submission.root)}; logs are in {workspace.short(folder())}."
    return "\n".join([*stack.notes, *lines, about, f"{READY} `make stack-down` ends it."])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
