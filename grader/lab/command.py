"""`course lab`: JupyterLab with the course's settings, its notebooks trusted, its pages and tiles in place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path

from grader import workspace
from grader.course import ROOT
from grader.lab import settings


def main(words: Sequence[str]) -> int:
    """Run JupyterLab until it ends; what stands after the command goes to it (`--no-browser`, `--port=9000`)."""
    env = settings.write(workspace.home() / "jupyter")
    # Kernels talk over sockets whose whole path has room for a hundred characters only.
    runtime = Path(tempfile.mkdtemp(prefix="course-", dir="/tmp" if os.name == "posix" else None))  # noqa: S108 - private
    env |= {"JUPYTER_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT)}
    os.environ.update(env)
    trust()
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [sys.executable, "-m", "jupyterlab", *root, *words]
    try:
        with subprocess.Popen(command, cwd=workspace.root()) as lab:
            _pass_on(lab)
            return lab.wait()
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def trust() -> None:
    """Sign the course's notebooks, so that their buttons work without a question each."""
    import nbformat  # noqa: PLC0415 - slow, and only for this
    from nbformat.sign import NotebookNotary  # noqa: PLC0415

    notary = NotebookNotary(data_dir=os.environ["JUPYTER_DATA_DIR"])  # type: ignore[no-untyped-call]
    Path(notary.data_dir).mkdir(parents=True, exist_ok=True)
    for path in sorted((workspace.root() / "notebooks").glob("*.ipynb")):
        notary.sign(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]
    notary.store.close()


def _pass_on(lab: subprocess.Popen[bytes]) -> None:
    """Let Lab decide what Ctrl-C means, which it gets from the terminal itself, and tell it of a polite end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def terminate(_number: int, _frame: types.FrameType | None) -> None:
        lab.terminate()

    signal.signal(signal.SIGTERM, terminate)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
