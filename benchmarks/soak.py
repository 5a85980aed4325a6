"""Do verdicts flip? ``python benchmarks/soak.py [--verdicts N] [--busy] [--load] [--only WORD]``, or ``make soak``.

Grades the finished service, a starter and ten faulty services in turn, by the command that learners use, and compares
what each check says of the same code from run to run. What was graded is kept in ``.course/soak.jsonl``: a run that was
broken off goes on where it was. The results stand in ``benchmarks/soak.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grader import workspace
from grader.course import ROOT, Course
from grader.starter import files, render_tree
from tests.mutants import SOLUTION, Mutant, all_mutants

DOCUMENT = ROOT / "benchmarks" / "soak.md"
SOLVED_IN_STARTER = 3
MUTANTS = 10
DECIDED = frozenset({"passed", "failed"})
BUSY_S = 600
"""Seconds after which a busy program ends by itself."""

HEAD = "| day | code | beside it | load checks | gradings | verdicts | inconclusive | errors | flips | load average |"
ROW = (
    "| {day} | {code} | {beside} | {load} | {gradings} | {verdicts} | {inconclusive} | {errors} | {flips} | {average} |"
)


@dataclass(frozen=True)
class Subject:
    """A service that is graded again and again, and the labs that are."""

    name: str
    labs: str
    mutant: Mutant | None = None
    solved: int | None = None

    def write(self, folder: Path) -> None:
        """Write it to a folder."""
        labs = [lab.number for lab in Course().labs]
        render_tree(SOLUTION, folder, {lab for lab in labs if self.solved is None or lab <= self.solved})
        if self.mutant:
            shutil.copy(SOLUTION / self.mutant.file, folder / self.mutant.file)
            self.mutant.apply(folder)


@dataclass(frozen=True)
class Grading:
    """One run of ``grade``: what it graded, where and when, and how each check ended."""

    at: str
    code: str
    commit: str
    beside: str
    load: bool
    average: float
    subject: str
    seconds: float
    seed: int = 0
    problem: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The row of the table that it is counted in."""
        return self.at[:10], self.commit, self.beside, "yes" if self.load else "no"

    def count(self, *outcomes: str) -> int:
        """How many checks ended so."""
        return sum(outcome in outcomes for outcome in self.outcomes.values())


@dataclass(frozen=True)
class Flip:
    """A verdict that differs from most others on the same code."""

    grading: Grading
    check: str

    def __str__(self) -> str:
        """One line for the log."""
        told = " ".join(self.grading.said.get(self.check, "").split())[:300]
        where = f"{self.grading.at} · {self.grading.commit} · {self.grading.subject} · seed {self.grading.seed}"
        return f"- {where}: `{self.check}` {self.grading.outcomes[self.check]}. {told}".rstrip()


def flips(gradings: Iterable[Grading]) -> list[Flip]:
    """Find the verdicts in the minority: pass against fail of one check on one and the same code."""
    heard: defaultdict[tuple[str, str, str], list[Flip]] = defaultdict(list)
    for grading in gradings:
        for check, outcome in grading.outcomes.items():
            if outcome in DECIDED:
                heard[grading.code, grading.subject, check].append(Flip(grading, check))
    found = []
    for each in heard.values():
        (most, _), *others = Counter(one.grading.outcomes[one.check] for one in each).most_common()
        found += [one for one in each if others and one.grading.outcomes[one.check] != most]
    return found


def subjects() -> list[Subject]:
    """Return the finished service, a starter, and faulty services of as many labs as possible."""
    chosen: dict[int, list[Mutant]] = defaultdict(list)
    mutants = [one for one in all_mutants() if len(one.labs) == 1]
    for mutant in random.Random(5).sample(mutants, len(mutants)):
        chosen[mutant.labs[0]].append(mutant)
    drawn = sorted((place, lab, one) for lab, each in chosen.items() for place, one in enumerate(each[:2]))[:MUTANTS]
    faulty = [Subject(one.name, str(lab), mutant=one) for _, lab, one in drawn]
    starter = Subject(f"starter, labs 1 to {SOLVED_IN_STARTER} solved", "all", solved=SOLVED_IN_STARTER)
    return [Subject("finished service", "all"), starter, *faulty]


def fingerprint() -> str:
    """Return a digest of all that a verdict depends on: the grader and the service."""
    digest = hashlib.sha256()
    for folder in (ROOT / "grader", SOLUTION):
        for path in sorted(files(folder)):
            digest.update(str(path).encode() + b"\0" + (folder / path).read_bytes())
    return digest.hexdigest()[:12]


def commit() -> str:
    """Return the short name of the commit, with a plus where what a verdict depends on differs from it."""
    return _git("rev-parse", "--short", "HEAD") + "+" * bool(_git("status", "--porcelain", "grader", "solutions"))


def _git(*words: str) -> str:
    command = [shutil.which("git") or "git", *words]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep processors busy meanwhile."""
    loop = f"import time; end = time.monotonic() + {BUSY_S}\nwhile time.monotonic() < end: pass"
    running = [subprocess.Popen([sys.executable, "-c", loop], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def graded(folder: Path, labs: str, *, load: bool) -> dict[str, Any]:
    """Grade a folder as a learner does, and return the report; what went wrong stands in ``problem``."""
    command = [str(Path(sys.executable).with_name("grade")), labs, "--service", str(folder), "--format", "json"]
    environment = {**os.environ, "COURSE_HOME": str(folder.parent / "home"), "NO_COLOR": "1"}
    with subprocess.Popen(
        [*command, *([] if load else ["--no-load"])],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said, complaint = process.communicate()
        except KeyboardInterrupt:
            process.wait(60)
            raise
    try:
        report: dict[str, Any] = json.loads(said)
    except ValueError:
        report = {"problem": {"cause": f"exit code {process.returncode}: {complaint[-300:]}"}, "labs": []}
    return report


def judge(subject: Subject, code: str, options: argparse.Namespace) -> Grading:
    """Grade a subject once."""
    average, count = os.getloadavg()[0], (os.cpu_count() or 1) if options.busy else 0
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch, busy(count):
        subject.write(Path(scratch, "service"))
        report = graded(Path(scratch, "service"), subject.labs, load=options.load and not subject.mutant)
    checks = {f"{lab['number']} {one['name']}": one for lab in report["labs"] for one in lab["checks"]}
    return Grading(
        at=began.isoformat(timespec="seconds"),
        code=code,
        commit=commit(),
        beside=company(options),
        load=options.load,
        average=round(average, 1),
        subject=subject.name,
        seconds=round((datetime.now(UTC) - began).total_seconds(), 1),
        seed=report.get("seed", 0),
        problem=(report["problem"] or {}).get("cause", ""),
        outcomes={name: one["outcome"] for name, one in checks.items()},
        said={name: one["message"] for name, one in checks.items() if one["outcome"] != "passed"},
    )


def alike(gradings: list[Grading], code: str, options: argparse.Namespace) -> list[Grading]:
    """Return the gradings of this code that were made under the same circumstances."""
    beside = company(options)
    return [one for one in gradings if (one.code, one.beside, one.load) == (code, beside, options.load)]


def company(options: argparse.Namespace) -> str:
    """Say what of ours runs beside a grading."""
    return f"{os.cpu_count()} busy loops" if options.busy else "nothing of ours"


def kept(ledger: Path) -> list[Grading]:
    """Read what was graded before; a line that was not finished is none."""
    found = []
    for line in ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []:
        with contextlib.suppress(ValueError, TypeError):
            found.append(Grading(**json.loads(line)))
    return found


def write(gradings: list[Grading], document: Path) -> None:
    """Bring rows and flips up to date; rows of which no grading is kept here stay as they are."""
    flipped = flips(gradings)
    rows: dict[tuple[str, ...], list[Grading]] = defaultdict(list)
    for grading in gradings:
        rows[grading.row].append(grading)
    old = document.read_text(encoding="utf-8").splitlines() if document.exists() else []
    table = {line.rsplit("|", 7)[0]: line for line in old if line.startswith("| 2")}
    for row, each in rows.items():
        line = ROW.format(
            **dict(zip(("day", "code", "beside", "load"), row, strict=True)),
            gradings=len(each),
            verdicts=f"{sum(one.count(*DECIDED) for one in each):,}",
            inconclusive=sum(one.count("inconclusive") for one in each),
            errors=sum(one.count("error") + bool(one.problem) for one in each),
            flips=sum(one.grading.row == row for one in flipped),
            average=f"{statistics.median(one.average for one in each):.1f}",
        )
        table[line.rsplit("|", 7)[0]] = line
    told = dict.fromkeys([line for line in old if line.startswith("- 2")] + [str(each) for each in flipped])
    head, _, rest = "\n".join(old).partition("<!-- soak -->")
    prose = rest.partition("<!-- /soak -->")[2]
    lines = [HEAD, "|---|---|---|---|--:|--:|--:|--:|--:|--:|", *(table[key] for key in sorted(table))]
    log = ["", "Flips:", "", *sorted(told)] if told else ["", "No verdict has flipped."]
    body = "\n".join(["<!-- soak -->", "", *lines, *log, "", "<!-- /soak -->"])
    document.write_text(f"{head}{body}{prose}\n", encoding="utf-8")


def main() -> None:
    """Grade until there are enough verdicts on the code as it is, or until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--verdicts", type=int, default=3000, metavar="N", help="stop at so many (default: 3000)")
    parser.add_argument("--busy", action="store_true", help="keep all processors busy meanwhile")
    parser.add_argument("--load", action="store_true", help="with the load checks")
    parser.add_argument("--only", default="", metavar="WORD", help="only subjects whose name has this in it")
    options = parser.parse_args()
    ledger, code = workspace.home() / "soak.jsonl", fingerprint()
    ledger.parent.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in subjects() if options.only in one.name]
    if not chosen:
        parser.error(f"no subject has {options.only!r} in its name: {', '.join(one.name for one in subjects())}")
    gradings = kept(ledger)
    with contextlib.suppress(KeyboardInterrupt):
        while sum(one.count(*DECIDED) for one in alike(gradings, code, options)) < options.verdicts:
            often = Counter(one.subject for one in alike(gradings, code, options))
            subject = min(chosen, key=lambda one: often[one.name])
            gradings.append(judge(subject, code, options))
            with ledger.open("a", encoding="utf-8") as file:
                print(json.dumps(asdict(gradings[-1])), file=file)
            write(gradings, DOCUMENT)
            print(summary(gradings[-1], gradings), flush=True)
    write(gradings, DOCUMENT)
    sys.exit(bool(flips(gradings)))


def summary(last: Grading, gradings: list[Grading]) -> str:
    """Say what one grading gave, and what there is in all."""
    ends = ", ".join(f"{number} {outcome}" for outcome, number in sorted(Counter(last.outcomes.values()).items()))
    total = sum(one.count(*DECIDED) for one in gradings)
    kind = last.problem or ends
    name, number = last.subject[:40], len(flips(gradings))
    return f"{last.at[11:19]}  {name:40}  {kind}; {last.seconds:.0f} s · {total:,} verdicts, {number} flips"


if __name__ == "__main__":
    main()
