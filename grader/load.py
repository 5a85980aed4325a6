"""Load: the same requests to the learner's service and to the reference beside it, and what they say together.

No figure is judged by itself. The rate is half of what the reference manages on this machine in this run; each block of
requests to the service stands between two to the reference; the provider's own time, by its ledger, is taken off.
"""

from __future__ import annotations

import json
import math
import resource
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grader.chart import Chart, Mark, histogram, spark
from grader.course import ROOT
from grader.expectation import Inconclusive, Skip
from grader.generator import Generator, Result
from grader.submission import Submission
from grader.target import CALLERS, Block, Target
from grader.usage import Usage, usage_of
from grader.verdict import Verdict, compare, costs, percentile, walk

if TYPE_CHECKING:
    from grader.bench import Bench

LIMIT = 0.2
"""Seconds beyond the provider's own time that the slowest twentieth may begin at (contract, lab 9)."""

GRACE = 0.5
"""Seconds that every time of the contract is extended by, before a service fails."""

CONNECTIONS = 1000
QUESTIONS = 100
"""Different questions that a thousand connections ask: they are about connections, not about the provider."""

BLOCK_SECONDS = 1.6
BLOCK_LEAST = 80
"""Requests that a block has at least; fewer prove nothing about a twentieth."""

PATIENCE = 4.0
"""Seconds after which a client of a block gives up: no later answer would make a verdict better or worse."""

MOST_BLOCKS = 8
LEAST_RATE = 16.0
"""Requests a second that the reference must manage, or the machine is no place to measure."""


@dataclass
class Rig:
    """The service, the reference, and Locust."""

    subject: Target
    reference: Target
    generator: Generator
    rate: float = 0.0
    own: list[Block] = field(default_factory=list)
    others: list[Block] = field(default_factory=list)

    def block(self, target: Target, *, count: int, users: int, rate: float = math.inf) -> Block:
        """Send chats to a target and measure."""
        tag, shots = target.shots(count, users=users, rate=rate)
        before = usage_of(target.api.service.process.pid).cpu
        results = self.generator.fire(target.api.url, shots, PATIENCE)
        after = usage_of(target.api.service.process.pid).cpu
        target.asked += count
        theirs: dict[str, float] = {}
        for call in target.provider.calls(tag):
            theirs[call.text] = theirs.get(call.text, 0.0) + (call.finished or call.arrived) - call.arrived
        beyond = [
            max(0.0, result.seconds - theirs.get(json.loads(shot.body)["message"], 0.0))
            if result.status == 200
            else math.inf
            for shot, result in zip(shots, results, strict=True)
        ]
        return Block(tuple(results), tuple(beyond), (after - before) / count)

    def steady(self, target: Target) -> Block:
        """Send chats at the rate of this run."""
        count = max(BLOCK_LEAST, int(self.rate * BLOCK_SECONDS))
        block = self.block(target, count=count, users=CALLERS, rate=self.rate)
        target.come_to_rest()
        target.read()
        return block

    def find_rate(self) -> None:
        """Let both warm up, then find out what the reference manages now, and take half of it."""
        for target in (self.subject, self.reference):
            self.block(target, count=32, users=8)
        most = self.block(self.reference, count=192, users=16).rate
        if most < LEAST_RATE:
            manages = f"the reference manages only {most:.0f} requests a second"
            raise Inconclusive(f"The machine is too busy to measure anything: {manages}. Close other programs.")
        self.rate = most / 2

    def need_rate(self) -> None:
        """Find the rate if nobody has yet."""
        if not self.rate:
            self.find_rate()

    def race(self) -> Verdict:
        """Compare block by block until it is clear whether the service keeps up, or that it will not become clear.

        Where the reference itself cannot keep the rate any more, the machine has changed, and the rate is found anew.
        """
        steps: list[Verdict] = []
        before: Block | None = None
        while len(steps) < MOST_BLOCKS and self.verdict(steps) is Verdict.OPEN:
            if before is None or before.p95 > LIMIT:
                self.find_rate()
                before = self.steady(self.reference)
            own = self.steady(self.subject)
            after = self.steady(self.reference)
            steps.append(compare(own.beyond, before.beyond, after.beyond, limit=LIMIT, grace=GRACE))
            self.own.append(own)
            self.others.append(after)
            before = after
        return self.verdict(steps)

    @staticmethod
    def verdict(steps: Sequence[Verdict]) -> Verdict:
        """Three blocks more good than bad are enough for good, four more bad than good for bad."""
        return walk(steps, to_good=3, to_bad=4)

    def readings(self) -> list[tuple[int, Usage, int]]:
        """Return what the service held after each block: five at least, to tell a trend from a step."""
        self.need_rate()
        while len(self.subject.readings) < 5:
            self.own.append(self.steady(self.subject))
        return self.subject.readings

    @staticmethod
    def beyond(blocks: Sequence[Block]) -> list[float]:
        """Seconds beyond the provider's own time of all requests in some blocks."""
        return [value for block in blocks for value in block.beyond]

    @staticmethod
    def cpu(blocks: Sequence[Block]) -> float:
        """Processor time of one request, in seconds: the middle block's."""
        return percentile([block.cpu for block in blocks], 0.5)

    def findings(self) -> list[str]:
        """Say what was measured, for the report."""
        served = ([one for one in self.beyond(blocks) if one < math.inf] for blocks in (self.own, self.others))
        slow, reference = (1000 * percentile(each, 0.95) for each in served)
        cost, theirs = 1000 * self.cpu(self.own), 1000 * self.cpu(self.others)
        lost = sum(result.status != 200 for block in self.own for result in block.results)
        picture = self.picture()
        also = f"; {lost} requests were not served" if lost else ""
        p95 = f"p95 is {slow:.0f} ms beyond the provider's own time, the reference's {reference:.0f} ms{also}"
        said = [
            f"At {self.rate:.0f} requests/s {p95}.",
            f"Yours: {spark(picture, 0)}; the reference: {spark(picture, 1)}.",
            f"A request takes {cost:.1f} ms of processor time, with the reference {theirs:.1f} ms.",
        ]
        pairs = zip(self.own, self.others, strict=False)
        if walk((costs(own.cpu, other.cpu, factor=2) for own, other in pairs), to_good=3, to_bad=3) is Verdict.BAD:
            said.append("Advice: that is more than twice as much in block after block; profile one request (py-spy).")
        return said

    def picture(self) -> Chart:
        """Draw how long requests took beyond the provider's own time."""
        samples = {
            name: [1000 * value for value in self.beyond(blocks) if value < math.inf]
            for name, blocks in {"your service": self.own, "reference": self.others}.items()
        }
        own, others = (percentile(values, 0.95) for values in samples.values())
        return histogram(
            "Latency under load",
            samples,
            f"At {self.rate:.0f} requests a second, 95 % of the answers took at most {own:.0f} ms beyond the "
            f"provider's own time; the reference's {others:.0f} ms. {1000 * LIMIT:.0f} ms are allowed.",
            unit="ms",
            bins=40,
            marks=[Mark(1000 * LIMIT, "p95 target")],
        )

    @property
    def connections(self) -> int:
        """How many connections a crowd opens."""
        return CONNECTIONS

    def crowd(self, target: Target) -> list[Result]:
        """Let a thousand connections be open at once, each with a question; the provider waits for the last of them.

        They come no faster than the reference could read them, so that none has waited long when answers begin.
        """
        rate = max(CONNECTIONS / 8, min(4 * self.rate, CONNECTIONS / 2))
        tag, shots = target.shots(CONNECTIONS, users=CONNECTIONS, rate=rate, questions=QUESTIONS)
        with target.provider.gate(tag) as gate:
            self.generator.begin(target.api.url, shots)
            gate.wait_held(QUESTIONS, timeout=1.0)
            gate.open()
            results = self.generator.finish(shots)
        target.asked += CONNECTIONS
        return results


def rig(bench: Bench) -> Rig:
    """Start Locust, the service and the reference. Raises ``Skip`` where the reference is missing."""
    home = ROOT / "solutions" / "service"
    if not home.is_dir():
        raise Skip("There is no reference to compare with: solutions/service is not in this copy of the workbook.")
    generator = Generator(bench.stack.supervisor, bench.directory, CONNECTIONS)
    copy = Submission.at(home).copy_to(bench.directory / "reference")
    beside = bench.sibling(submission=copy, provider=bench.provider.sibling())
    return Rig(Target(bench), Target(beside), generator)


def complaints(results: Sequence[Result]) -> str:
    """Say what was wrong with a crowd's answers; nothing when all was as the contract has it."""
    shed = [one for one in results if one.status == 503 and one.retry]
    counts = Counter(
        {"refused": "refused", "reset": "reset", "timeout": "not answered within 15 s"}.get(one.error, f"{one.status}")
        for one in results
        if one.status != 200 and one not in shed
    )
    if len(shed) > len(results) / 100:
        counts["answered 503 (at most 1 % may be)"] = len(shed)
    return ", ".join(f"{count} were {what}" for what, count in counts.items())


def peak(results: Sequence[Result]) -> int:
    """Count how many requests were under way at once, at most."""
    changes = sorted([(one.sent, 1) for one in results] + [(one.finished, -1) for one in results])
    return max(_sums(change for _, change in changes))


def _sums(numbers: Iterator[int]) -> Iterator[int]:
    total = 0
    for number in numbers:
        total += number
        yield total


def room_for(connections: int) -> bool:
    """Whether the system lets a process have so many connections, and some files more."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft == resource.RLIM_INFINITY or soft >= connections + 200
