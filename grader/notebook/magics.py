"""The magics: `%service`, `%%app`, `%grade`, `%hint`, `%stack`, `%bill`, `%audit`; none raises for bad input."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.display import clear_output, display

from grader import workspace
from grader.formats.element import Child, element
from grader.notebook import cards
from grader.notebook.grading import Grader, GradingFailedError, Running, finish, graded, hints_card
from grader.notebook.model import Model
from grader.notebook.playing import Play, spelled, words
from grader.parts import PartFailedError, PartMissingError
from grader.service import StartFailedError
from grader.submission import BadSubmissionError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import DisplayHandle

    from grader.report import Report, StartProblem

_FORESEEN = (StartFailedError, BadSubmissionError, PartMissingError, PartFailedError, GradingFailedError)


def _show(card: cards.Card) -> None:
    display(card)  # type: ignore[no-untyped-call]


class WordsError(Exception):
    """A magic was called with words it does not know."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WordsError(f"{message}. {self.format_usage().strip()}")


@magics_class
class CourseMagics(Magics):  # IPython's traits are untyped
    """One set a kernel; the processes behind it start with the first word that needs them."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        self._last: Report | None = None

    @cached_property
    def _play(self) -> Play:
        return Play()

    @cached_property
    def _grader(self) -> Grader:
        return Grader(self._play)

    @line_magic
    def service(self, line: str) -> None:
        """`%service start [NAME=VALUE …] | stop | restart [NAME=VALUE …] | logs [N] | status`."""
        verb, *rest = shlex.split(line) or ["status"]
        verbs = {"start": self._start, "restart": self._restart, "logs": self._logs}
        with _told():
            if verb in verbs:
                verbs[verb](rest)
            elif verb == "stop":
                self._stop()
            elif verb == "status":
                _show(self._status())
            else:
                raise WordsError(f"%service does not know {verb!r}: start, stop, restart, logs or status")

    def _start(self, rest: list[str]) -> None:
        self._play.start(_settings(rest))
        self._give(words(self._play))
        _show(self._status())
        self._grader.warm()

    def _restart(self, rest: list[str]) -> None:
        self._play.start(_settings(rest), afresh=False)
        self._give(words(self._play))
        _show(self._status())

    def _give(self, names: dict[str, object]) -> None:
        self._shell.push(names)  # type: ignore[no-untyped-call]

    def _stop(self) -> None:
        self._grader.close()
        self._play.close()
        for name in ("_play", "_grader"):
            self.__dict__.pop(name, None)
        _show(cards.Note("The service, its Redis and the model have ended."))

    def _logs(self, rest: list[str]) -> None:
        lines = self._play.lines()[-int(rest[0]) if rest else -20 :]
        _show(cards.Note("What the service said last" if lines else "The service has said nothing.", folded=lines))

    def _status(self) -> cards.Card:
        if not self._play.running:
            return cards.Note("The service is not running.", "%service start starts it.", state="wait")
        folder = spelled(self._play.submission.root)
        return _Started(folder, self._play.url, self._play.provider.page_url)

    @cell_magic
    def app(self, line: str, cell: str) -> None:
        """`%%app NAME [--workers N]`: run the cell as a web application of its own; NAME becomes its client."""
        with _told(cell):
            options = _app_parser().parse_args(shlex.split(line))
            if not options.name.isidentifier():
                raise WordsError(f"{options.name!r} is no name for a variable")
            self._play.app(options.name, cell, options.workers)
            self._give({options.name: self._play.client(options.name)})
            count = f" with {options.workers} workers" if options.workers > 1 else ""
            _show(cards.Note(f"{options.name} runs{count}.", state="good"))

    @line_magic
    def grade(self, line: str) -> None:
        """`%grade 4`, `%grade 4 CHECK …`, `%grade 1-4 --no-load --seed N`."""
        with _told():
            options = _grade_parser().parse_args(shlex.split(line))
            labs = [word for word in options.words if _is_lab(word)]
            only = [word for word in options.words if not _is_lab(word)]
            service = workspace.service().resolve()
            asked = {"labs": labs, "only": only, "load": options.load, "seed": options.seed, "service": str(service)}
            title = f"Lab {', '.join(labs)}" if labs else "All labs"
            report = self._graded(title, asked)
            self._last = report
            _show(finish(report, service=service, whole=not only))

    def _graded(self, title: str, asked: dict[str, object]) -> Report:
        live = _Live(self._shell)
        try:
            return graded(self._grader, title, asked, live.show)
        finally:
            live.end()

    @line_magic
    def hint(self, line: str) -> None:
        """`%hint`: one more hint for the first check that failed in the last `%grade`; `%hint CHECK` for another."""
        _show(hints_card(self._last, workspace.service(), line.split()))

    @line_magic
    def bill(self, _line: str) -> None:
        """`%bill`: what the model has cost so far."""
        with _told():
            _show(Model(lambda: self._play.provider).bill())

    @line_magic
    def stack(self, _line: str) -> None:
        """`%stack`: what runs behind this notebook."""
        with _told():
            _show(self._parts())

    def _parts(self) -> cards.Card:
        play = self._play
        rows: list[tuple[object, ...]] = [
            ("service", "runs" if play.running else "stopped", spelled(play.submission.root)),
            ("model", "runs", "an OpenAI-compatible server of the course"),
            ("redis", "runs", f"{play.stack.redis.source}, version {play.stack.redis.version}"),
            ("database", "a file", "SQLite"),
        ]
        rows += [(name, "runs" if alive else "ended", "%%app") for name, alive in play.apps.items()]
        return cards.Rows("Behind this notebook", ("part", "state", "what it is"), rows)

    @line_magic
    def audit(self, _line: str) -> None:
        """`%audit`: how far the service is from production; checks the whole course, which takes a minute or two."""
        from grader.audit import table  # noqa: PLC0415 - for this magic only
        from grader.course import Course  # noqa: PLC0415

        with _told():
            built = [lab.number for lab in Course().labs]
            service = workspace.service().resolve()
            labs = [str(number) for number in built if number <= 9]
            asked = {"labs": labs, "only": [], "load": False, "seed": None, "service": str(service)}
            report = self._graded("Audit", asked)
            if report.problem:
                raise StartFailedError(report.problem)
            _show(_Audit(table(report, built)))


class _Audit(cards.Card):
    label = "audit"

    def __init__(self, text: str) -> None:
        self.text = text

    def words(self) -> str:
        return self.text

    def body(self) -> Iterator[Child]:
        yield cards.pre(self.text)


class _Started(cards.Card):
    """Where the service is reached."""

    label = "service"

    def __init__(self, folder: str, url: str, page: str) -> None:
        self.folder, self.url, self.page = folder, url, page

    def words(self) -> str:
        """Return that it runs; its port differs each time."""
        return f"The service in {self.folder} runs."

    def body(self) -> Iterator[Child]:
        """Give links to its documentation and to the model's page."""
        badge = element("span", "✓ runs", class_="cw-badge good")
        yield element("p", element("strong", "The service in ", element("code", self.folder)), badge, class_="cw-head")
        docs = element("a", f"{self.url}/docs", href=f"{self.url}/docs", target="_blank")
        model = element("a", "calls, bill and switches", href=self.page, target="_blank")
        yield element("p", "Documentation: ", docs, " · The model: ", model)


class _Live:
    """Shows progress where a front end can replace what was shown; elsewhere only the result is shown."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shows = hasattr(shell, "kernel")
        self._handle: DisplayHandle | None = None

    def show(self, running: Running) -> None:
        if not self._shows:
            return
        if self._handle is None:
            self._handle = display(running, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(running)  # type: ignore[no-untyped-call]

    def end(self) -> None:
        if self._handle is not None:
            clear_output(wait=True)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _told(cell: str = "") -> Iterator[None]:
    """Show what was foreseen as a card instead of a traceback."""
    try:
        yield
    except StartFailedError as failed:
        _show(_explained(failed.problem, cell))
    except WordsError as problem:
        _show(cards.Note(str(problem), state="wait"))
    except _FORESEEN as problem:
        _show(cards.Note(str(problem), state="bad"))
    except KeyboardInterrupt:
        _show(cards.Note("Interrupted.", state="wait"))


def _explained(problem: StartProblem, cell: str) -> cards.Card:
    what = "The app did not start." if cell else "The service did not start."
    told = [line for line in (problem.cause, problem.detail, problem.remedy) if line]
    if problem.place:
        told.insert(1, f"line {problem.line} of the cell" if cell and problem.line else problem.place)
    return cards.Note(what, *told, state="bad", folded=problem.log[-5:])


def _settings(rest: list[str]) -> dict[str, object]:
    for word in rest:
        if "=" not in word:
            raise WordsError(f"{word!r} is no setting; write NAME=VALUE")
    return {name: value for name, _, value in (word.partition("=") for word in rest)}


def _is_lab(word: str) -> bool:
    return word == "all" or word[0].isdigit()


def _app_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="%%app", add_help=False)
    parser.add_argument("name")
    parser.add_argument("--workers", type=int, default=1)
    return parser


def _grade_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="%grade", add_help=False)
    parser.add_argument("words", nargs="*", metavar="LAB or CHECK")
    parser.add_argument("--no-load", dest="load", action="store_false")
    parser.add_argument("--seed", type=int)
    return parser
