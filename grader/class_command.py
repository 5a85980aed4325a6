"""What `course class` and `course verify` do."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from grader import class_summary, sandbox, signing
from grader.classroom import Classroom, Orders, Row, total_of
from grader.cli import Parser, spelled_out
from grader.course import Course
from grader.formats import sentences
from grader.formats.visible import visible
from grader.intake import Entry, entries
from grader.report import Report
from grader.selection import UnknownLabError, select
from grader.submission import BadSubmissionError

REPORTS = "reports"


def grade_class(words: Sequence[str]) -> int:
    """Grade a class. Exit code 0 when all were graded, 1 when some could not be, 2 when nothing could be done."""
    parser = _class_parser()
    options = parser.parse_args(spelled_out(words))
    try:
        handed_in = entries(options.place.expanduser().resolve())
        labs = select(options.labs, {lab.number: lab.slug for lab in Course().labs})
        out = _folder(options.out.expanduser(), resume=options.resume)
        if options.isolate == "strangers":
            _try_walls()
        key = signing.private_key()
    except (BadSubmissionError, UnknownLabError, sandbox.CannotIsolateError, signing.KeyUnusableError) as problem:
        parser.error(str(problem))
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    orders = Orders(tuple(labs), out / REPORTS, seed, options.isolate, options.load)
    return _Class(Classroom(orders, key), out, handed_in).grade(options.jobs, resume=options.resume)


def _class_parser() -> Parser:
    parser = Parser(
        prog="course class",
        description="Grade what a class handed in: one signed report each, class.csv, and summary.html.",
        epilog="exit code: 0 all were graded, 1 some could not be, 2 nothing could be done, 130 interrupted",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("place", type=Path, metavar="FOLDER|LIST", help="folders and .zip archives, or a text file of their paths")
    add("labs", nargs="*", metavar="LABS", help="as for grade: 4, 1-4, rate_limiting (default: all)")
    add("--out", type=Path, required=True, metavar="DIR", help="where reports, class.csv and summary.html go")
    add("--jobs", type=int, choices=range(1, 65), default=1, metavar="N", help="submissions at a time (default: 1)")
    add("--resume", action="store_true", help="go on: keep the reports of submissions that have not changed")
    add("--isolate", choices=("strangers", "off"), default="strangers", help="default: strangers")
    add("--no-load", dest="load", action="store_false", help="leave out the load checks")
    add("--seed", type=int, metavar="N", help="draw names, keys and limits as another run did; the same for everybody")
    return parser


def _folder(out: Path, *, resume: bool) -> Path:
    """Make the folder for the reports. Raises ``BadSubmissionError`` where somebody's lie already."""
    reports = out / REPORTS
    if not resume and reports.is_dir() and any(reports.iterdir()):
        raise BadSubmissionError(f"{out} holds reports already: add --resume to go on, or name another --out")
    try:
        reports.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BadSubmissionError(f"{out} cannot be made ({problem.strerror}); name another --out") from None
    return out


def _try_walls() -> None:
    """Raise ``CannotIsolateError`` before anybody waits."""
    with TemporaryDirectory() as folder:
        sandbox.Sandbox.at(Path(folder))


class _Class:
    """Grades everybody, and tells how far it is."""

    def __init__(self, room: Classroom, out: Path, handed_in: Sequence[Entry]) -> None:
        self._room = room
        self._out = out
        self._handed_in = handed_in
        self._rows: dict[str, Row] = {}
        self._total = total_of(room.orders.labs)
        self._began = time.monotonic()

    def grade(self, jobs: int, *, resume: bool) -> int:
        with ThreadPoolExecutor(jobs) as pool:
            waiting = {pool.submit(self._room.grade, entry, resume=resume) for entry in self._handed_in}
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                    for each in done:
                        self._note(each)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._room.close()
                said = f"{len(self._rows)} of {len(self._handed_in)} graded; go on with --resume and the same --out."
                print(said, file=sys.stderr)
                raise
        print(f"Written: {self._out / 'class.csv'}, {self._out / 'summary.html'}")
        return 0 if all(row.report for row in self._rows.values()) else 1

    def _note(self, done: Future[Row]) -> None:
        row = done.result()
        self._rows[row.name] = row
        self._write()
        number, count = len(self._rows), len(self._handed_in)
        fresh = sum(each.fresh for each in self._rows.values())
        left = (time.monotonic() - self._began) / fresh * (count - number) / 60 if fresh else 0
        time_left = f" · about {left:.0f} min left" if left >= 1 else ""
        print(f"[{number}/{count}] {visible(row.name)}: {visible(_told(row, self._total))}{time_left}", flush=True)

    def _write(self) -> None:
        """Write table and summary anew, so that they are there whenever the run ends."""
        rows = [self._rows[entry.name] for entry in self._handed_in if entry.name in self._rows]
        labs = self._room.orders.labs
        for name, text in (
            ("class.csv", class_summary.table(rows, labs, self._total)),
            ("summary.html", class_summary.page(rows, labs, self._total)),
        ):
            part = self._out / f".{name}"
            part.write_text(text, encoding="utf-8", errors="replace")
            part.replace(self._out / name)


def _told(row: Row, total: int) -> str:
    if row.report is None:
        return f"not graded: {row.cause}"
    if row.report.problem:
        return f"0 of {total} points, as it does not start: {row.report.problem.cause}"
    return sentences.points(row.report) + ("" if row.fresh else ", as before")


def verify(words: Sequence[str]) -> int:
    """Say of each report whether it is as it was signed. Exit code 0 when all are, 1 when one is not, 2 unreadable."""
    parser = Parser(
        prog="course verify",
        description="Say whether reports of a class are as they were signed.",
        epilog="exit code: 0 all are genuine, 1 some are not, 2 nothing could be read",
    )
    parser.add_argument("reports", nargs="*", type=Path, metavar="REPORT", help="the .json files")
    parser.add_argument("--key", metavar="KEY", help="the signer's public key, or a file with it (default: yours)")
    parser.add_argument("--public", action="store_true", help="print your public key, for others to verify with")
    options = parser.parse_args(words)
    try:
        key = signing.read_public(options.key) if options.key else signing.private_key().public_key()
    except signing.KeyUnusableError as problem:
        parser.error(str(problem))
    if options.public:
        print(signing.public_text(key))
    elif not options.reports:
        parser.error("name the reports, the .json files")
    return max([_verify(path, key) for path in options.reports], default=0)


def _verify(path: Path, key: Ed25519PublicKey) -> int:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        report = Report.from_dict(data)
        origin = data.get("class") or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is no report in JSON"
        print(f"{path}: cannot be read: {why}")
        return 1
    seal = signing.examine(data, key)
    if seal is not signing.Seal.GENUINE:
        print(f"{path}: {seal}")
        return 1
    when = report.started_at.strftime("%Y-%m-%d %H:%M %Z")
    print(f"{path}: genuine · {visible(str(origin.get('learner', '?')))} · {sentences.points(report)} · {when}")
    return 0
