"""How many requests a second one replica bears, and what they cost: ``python benchmarks/load.py [SERVICE [PICTURE]]``.

An open ramp: after a closed section that finds the most, sections at rising shares of it, each request sent when it is
due whether or not earlier ones are answered. Times are beyond the provider's own, processor time is the service's.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grader.chart import Chart, Mark, bars
from grader.course import ROOT
from grader.generator import Generator
from grader.load import LIMIT, Rig
from grader.picture import save
from grader.submission import Submission
from grader.target import CALLERS, Block, Target
from grader.verdict import percentile
from grader.workshop import start_workshop

SHARES = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1)
SECONDS = 4.0


def main() -> None:
    """Measure, print a line for each rate, and draw them if a file is named."""
    service = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "solutions" / "service"
    with tempfile.TemporaryDirectory() as folder, start_workshop(Path(folder), seed=0) as workshop:
        copy = Submission.at(service).copy_to(Path(folder, "submission"))
        with workshop.bench(copy, "ramp") as bench:
            generator = Generator(bench.learners, bench.directory, CALLERS)
            target = Target(bench)
            rig = Rig(target, target, generator)
            rig.block(target, count=64, users=8)
            most = rig.block(target, count=300, users=16).rate
            print(f"most {most:6.1f}/s")
            blocks = {share: ramp_step(rig, target, share * most) for share in SHARES}
            generator.close()
    if len(sys.argv) > 2:
        save(picture(most, blocks), Path(sys.argv[2]))


def ramp_step(rig: Rig, target: Target, rate: float) -> Block:
    """Send requests at a rate, and print what came of it."""
    block = rig.block(target, count=max(100, int(rate * SECONDS)), users=CALLERS, rate=rate)
    times = "  ".join(f"p{share:.0%}".replace("%", "") + f" {1000 * at(block, share):7.1f} ms" for share in (0.5, 0.95))
    print(f"{rate:6.1f}/s  {times}  processor {1000 * block.cpu:5.2f} ms a request, {rate * block.cpu:4.0%} of a core")
    return block


def at(block: Block, share: float) -> float:
    """Return a percentile of a block."""
    return percentile(block.beyond, share)


def picture(most: float, blocks: dict[float, Block]) -> Chart:
    """Draw the slowest twentieth at each rate."""
    values = [1000 * block.p95 for block in blocks.values()]
    chart = bars(
        "Latency as the rate rises",
        {"p95": values},
        [f"{share * most:.0f}/s" for share in blocks],
        f"At most {most:.0f} requests a second are answered; p95 grows from {values[0]:.0f} to {values[-1]:.0f} ms.",
        unit="requests a second",
    )
    return Chart(**{**vars(chart), "marks": (Mark(1000 * LIMIT, "200 ms"),)})


if __name__ == "__main__":
    main()
