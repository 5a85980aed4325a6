"""The load-test tile: Locust's web page, aimed at the service that a notebook has started."""

from __future__ import annotations

import json
import os
import sys

from grader.course import ROOT
from grader.lab.pages import running
from grader.playground import KEYS


def main(port: str, base: str) -> None:
    """Become Locust on a port, its page below the Jupyter server's address."""
    host = running().get("service", "http://127.0.0.1:8000")
    command = [sys.executable, "-P", "-m", "locust", "-f", str(ROOT / "grader" / "locustfile.py"), "--host", host]
    command += ["--web-host", "127.0.0.1", "--web-port", port, "--web-base-path", f"{base}course-locust"]
    os.environ["LOAD_KEYS"] = json.dumps([KEYS["user"]])
    os.execv(sys.executable, command)  # noqa: S606 - the proxy ends this very process


if __name__ == "__main__":
    main(*sys.argv[1:3])
