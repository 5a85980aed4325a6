"""How long grading takes, and where the time goes: ``python benchmarks/grading.py [RUNS] [LABS]``."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Grade the finished service a few times; print the medians of seconds on the clock and on the processors."""
    runs, labs = int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2] if len(sys.argv) > 2 else "1-4"
    measured = [measure(labs) for _ in range(runs)]
    reports = [report for report, _, _ in measured]
    print(f"labs {labs}, finished service, {runs} runs on {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"  outcomes    {', '.join(report['outcome'] for report in reports)}")
    print(f"  wall        {statistics.median(wall for _, wall, _ in measured):6.1f} s")
    print(f"  processors  {statistics.median(cpu for _, _, cpu in measured):6.1f} s")
    for phase in reports[0].get("phases", {}):
        print(f"  {phase:<10}  {statistics.median(report['phases'][phase] for report in reports):6.1f} s")


def measure(labs: str) -> tuple[dict[str, Any], float, float]:
    """Return the report of one run, its seconds, and the processor seconds of all that it started."""
    command = [str(Path(sys.executable).with_name("grade")), labs, "--service", "solutions/service", "--format", "json"]
    started, before = time.monotonic(), spent()
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return json.loads(done.stdout), time.monotonic() - started, spent() - before


def spent() -> float:
    """Return the processor seconds of children that have ended, with theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
