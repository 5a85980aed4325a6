"""Load page: Locust's own web page on the learner's service, for watching and trying (``grade 9 --load-ui``)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from grader.generator import START_LIMIT, locust
from grader.ports import HOST, ReservedPort
from grader.service import StartFailedError
from grader.submission import Submission
from grader.supervisor import SupervisorError
from grader.target import LATENCY, SETTINGS
from grader.workshop import start_workshop

if TYPE_CHECKING:
    from grader.api import Api
    from grader.bench import Bench
    from grader.report import StartProblem
    from grader.supervisor import Process

VISITORS_KEYS = 50


def serve(service: Path) -> StartProblem | None:
    """Run a copy of the service with a worker, and Locust's page for it, until Ctrl-C.

    Returns why the service did not start, if it did not. Raises ``BadSubmissionError`` and ``SupervisorError``.
    """
    with tempfile.TemporaryDirectory(prefix="load-") as folder, start_workshop(Path(folder), seed=0) as workshop:
        copy = Submission.at(service).copy_to(Path(folder, "submission"))
        with workshop.bench(copy, "load-page") as bench:
            try:
                (api,) = bench.launch(1, users=1, database="sqlite", together=False, **SETTINGS)
            except StartFailedError as failed:
                return failed.problem
            bench.provider.latency(LATENCY, per_token=LATENCY / 10)
            _show(bench, api)
    return None


def _show(bench: Bench, api: Api) -> None:
    worker = bench.worker(api)
    port = ReservedPort()
    page = _start(bench, api, port.number)
    try:
        print(f"Your service: {api.url}\nLocust:       http://{HOST}:{port.number}\nCtrl-C ends both.", flush=True)
        if sys.stdout.isatty():
            webbrowser.open(f"http://{HOST}:{port.number}")
        while page.wait(1.0) is None and api.service.alive:
            continue
        print(f"Ended: {_ended({'Locust': page, 'the service': api.service.process, 'the worker': worker})}.")
    except KeyboardInterrupt:
        print()
    finally:
        page.stop(2.0)
        port.close()


def _ended(processes: dict[str, Process]) -> str:
    codes = {name: process.poll() for name, process in processes.items()}
    return ", ".join(f"{name} (exit code {code})" for name, code in codes.items() if code is not None)


def _start(bench: Bench, api: Api, port: int) -> Process:
    """Start Locust and wait for its page."""
    home = bench.directory / "locust"
    home.mkdir()
    keys = [api.new_caller().headers["X-API-Key"] for _ in range(VISITORS_KEYS)]
    where = ["--web-host", HOST, "--web-port", str(port), "--host", api.url]
    process = bench.stack.supervisor.spawn(
        [*locust("locustfile"), "--loglevel", "INFO", "--class-picker", *where],
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "LOAD_KEYS": json.dumps(keys),
            "LOAD_SHAPE": "any",
        },
        cwd=home,
        log=home / "locust.log",
    )
    if not (process.wait_for_output("Starting web interface", START_LIMIT) and _listens(port)):
        said = process.log.read_text(errors="replace").splitlines()
        raise SupervisorError(f"Locust did not start: {said[-1] if said else 'it said nothing'}")
    return process


def _listens(port: int) -> bool:
    """Wait until the page can be opened; Locust says that it starts a little before."""
    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
            return True
        time.sleep(0.05)
    return False
