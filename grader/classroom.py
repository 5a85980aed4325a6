"""Classroom: grade what a class handed in, each submission by a grader of its own, and keep a signed report of each."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from grader import signing, workspace
from grader.formats import View, render
from grader.intake import Entry, digest
from grader.report import Report
from grader.submission import BadSubmissionError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LIMIT_S = 3600.0
"""Seconds after which a submission is given up."""

_END_LIMIT_S = 20.0
"""Seconds in which a grader that was told to end has ended everything."""

_GRADE = "import sys; from grader.cli import grade; sys.exit(grade())"


class NotGradedError(Exception):
    """A submission cannot be graded; the text says why."""


@dataclass(frozen=True)
class Orders:
    """How a class is graded."""

    labs: tuple[int, ...]
    out: Path
    seed: int
    isolate: str = "strangers"
    load: bool = True
    jobs: int = 0
    """Labs of one submission that are checked at once; 0 leaves it to the grader."""

    def command(self, service: str) -> list[str]:
        """The words that grade a service so."""
        words = [*map(str, self.labs), "--service", service, f"--isolate={self.isolate}", "--seed", str(self.seed)]
        return [*words, *([] if self.load else ["--no-load"]), *(["--jobs", str(self.jobs)] if self.jobs else [])]


@dataclass(frozen=True)
class Row:
    """What became of one submission."""

    name: str
    report: Report | None = None
    cause: str = ""
    files: tuple[str, ...] = ()
    fresh: bool = field(default=True, compare=False)
    """Whether it was graded now, and not in an earlier run."""


class Classroom:
    """Grades submissions and keeps their reports; safe to use from threads."""

    def __init__(self, orders: Orders, key: Ed25519PrivateKey) -> None:
        self.orders = orders
        self._key = key
        self._graders: set[subprocess.Popen[str]] = set()
        self._closed = False

    def grade(self, entry: Entry, *, resume: bool) -> Row:
        """Grade one submission, or take over its report when it is the same and was graded before."""
        try:
            with TemporaryDirectory(prefix="class-") as folder:
                service = entry.lay_out(Path(folder) / "unpacked")
                seen = digest(service)
                if resume and (known := self._known(entry, seen)):
                    return known
                return self._keep(entry, seen, self._report(service, Path(folder)))
        except (NotGradedError, BadSubmissionError) as problem:
            return Row(entry.name, cause=str(problem))
        except OSError as problem:
            return Row(entry.name, cause=f"The submission cannot be read: {problem}.")

    def close(self) -> None:
        """End the graders that are under way; what they started ends with them."""
        self._closed = True
        for grader in list(self._graders):
            grader.send_signal(signal.SIGTERM)

    def _report(self, service: Path, folder: Path) -> Report:
        """Run a grader. Its report comes through a pipe, when all it started has ended. Raises `NotGradedError`."""
        grader = subprocess.Popen(
            [sys.executable, "-s", "-P", "-c", _GRADE, *self.orders.command(str(service)), "--format=json"],
            env={**os.environ, "COURSE_HOME": str(folder / "home")},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us to pass on
        )
        self._graders.add(grader)
        try:
            if self._closed:
                grader.terminate()
            said, complaint = grader.communicate(timeout=LIMIT_S)
            return Report.from_dict(json.loads(said))
        except subprocess.TimeoutExpired:
            raise NotGradedError(f"It was not graded within {LIMIT_S / 60:.0f} minutes.") from None
        except (ValueError, KeyError, TypeError):
            last = next((line for line in reversed(complaint.splitlines()) if line.strip()), "")
            raise NotGradedError(last.removeprefix("grade: ") or "The grader ended without a report.") from None
        finally:
            self._graders.discard(grader)
            _end(grader)

    def _keep(self, entry: Entry, seen: str, found: Report) -> Row:
        """Sign the report, and write it whole or not at all."""
        report = replace(found, submission=entry.name, command=f"grade {' '.join(self.orders.command(entry.name))}")
        origin = {"learner": entry.name, "submission_sha256": seen, "grader_sha256": grader_digest()}
        signed = signing.sign({**report.to_dict(), "class": origin}, self._key)
        base = f"{os.path.relpath(workspace.root(), self.orders.out.resolve())}/"
        texts = {".json": json.dumps(signed, indent=2) + "\n", ".html": render(report, "html", View(base=base))}
        files = []
        for suffix, text in texts.items():
            path = self._place(entry, suffix)
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
            files.append(path.name)
        return Row(entry.name, report, files=tuple(files))

    def _known(self, entry: Entry, seen: str) -> Row | None:
        """Return what an earlier run found, if it graded the same files for the same labs and nobody touched it."""
        place = self._place(entry, ".json")
        try:
            data: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
            report = Report.from_dict(data)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        same = data.get("class", {}).get("submission_sha256") == seen and (
            report.problem or tuple(lab.number for lab in report.labs) == self.orders.labs
        )
        if not same or signing.examine(data, self._key.public_key()) is not signing.Seal.GENUINE:
            return None
        return Row(entry.name, report, files=(place.name, self._place(entry, ".html").name), fresh=False)

    def _place(self, entry: Entry, suffix: str) -> Path:
        """A file of the submission's name, without what no file system wants in a name."""
        plain = re.sub(r"[^\w.() -]", "_", entry.name).strip(". ")[:80] or "_"
        if plain != entry.name:
            plain = f"{plain}-{hashlib.sha256(entry.name.encode(errors='surrogateescape')).hexdigest()[:6]}"
        return self.orders.out / f"{plain}{suffix}"


def _end(grader: subprocess.Popen[str]) -> None:
    """End a grader that still runs; when it is gone, its supervisors end what it had started."""
    if grader.poll() is None:
        grader.terminate()
        until = time.monotonic() + _END_LIMIT_S
        while grader.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
    if grader.poll() is None:
        grader.kill()
    grader.communicate()


def grader_digest() -> str:
    """Return a SHA-256 of the grader's own code, so that reports by unlike graders can be told apart."""
    whole, home = hashlib.sha256(), Path(__file__).parent
    for path in sorted(home.rglob("*.py")):
        whole.update(f"{path.relative_to(home)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def total_of(labs: Sequence[int]) -> int:
    """Return the points that the labs' checks are worth together."""
    from grader.course import Course  # noqa: PLC0415  # imports every check

    return sum(check.points for number in labs for check in Course().lab(number).checks)
