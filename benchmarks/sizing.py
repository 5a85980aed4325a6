"""What one learner takes: JupyterLab, a kernel, a run of the grader. deploy/SIZING.md reckons with these.

python benchmarks/sizing.py [LABS …]     (default: 4)
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[1]
SERVICE = ROOT / "solutions" / "service"
MEGABYTE = 1 << 20
PAUSE_S = 0.25


def memory_of(pid: int) -> int:
    """Return what a process and all below it hold, in bytes; pages that are shared count once (PSS)."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total


def lab_server() -> int:
    """Return what JupyterLab holds when it has started, without a kernel."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-P", "-m", "grader.lab.command", "--no-browser", "--port", "18888"]
        env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": home, "COURSE_HOME": home}
        with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            next(line for line in process.stderr if "is running at" in line)
            time.sleep(2)
            held = memory_of(process.pid)
            process.terminate()
            process.stderr.read()
    return held


def kernel() -> int:
    """Return what a kernel holds after the first cell of a notebook."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(ROOT / "notebooks"))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    client.execute_interactive("%load_ext grader", timeout=120)
    held = memory_of(manager.provisioner.pid)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return held


def grade(labs: list[str]) -> tuple[int, float, float]:
    """Return the most that a run held at once, its processor seconds and its seconds."""
    before, started, most = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    command = [
        str(Path(sys.executable).with_name("grade")),
        *labs,
        "--service",
        str(SERVICE),
        "--no-load",
        "--format",
        "json",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, memory_of(process.pid))
            time.sleep(PAUSE_S)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return most, cpu, time.monotonic() - started


def main() -> None:
    """Measure and print."""
    print(f"JupyterLab {lab_server() / MEGABYTE:.0f} MB")
    print(f"a kernel {kernel() / MEGABYTE:.0f} MB")
    labs = sys.argv[1:] or ["4"]
    most, cpu, seconds = grade(labs)
    print(f"grade {' '.join(labs)}: at most {most / MEGABYTE:.0f} MB, {cpu:.0f} processor seconds, {seconds:.0f} s")


if __name__ == "__main__":
    main()
