"""The commands `grade` and `course`: parse, call, print, exit. Whatever is heavy is imported when it is needed."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple, NoReturn

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""


class Command(NamedTuple):
    """A subcommand: a function `(arguments) -> exit code`, imported with its module when it is called."""

    module: str
    function: str
    summary: str

    def __call__(self, arguments: Sequence[str]) -> int:
        """Run the command with what stands after its name."""
        function: Callable[[Sequence[str]], int] = getattr(import_module(self.module), self.function)
        return function(arguments)


GRADE = {
    "doctor": Command("grader.overview", "doctor", "show each part that grading needs, and what is missing"),
    "audit": Command("grader.audit", "audit", "show how far the service is from production"),
    "list": Command("grader.overview", "show_labs", "list the labs and where you stand"),
}
COURSE = {
    "serve": Command("grader.course_commands", "serve", "run your service with a Redis and a model of its own"),
    "catch-up": Command("grader.course_commands", "catch_up", "bring your service to the state after a lab"),
    "reset": Command("grader.course_commands", "reset", "put a file of your service back to its start"),
    "restore": Command("grader.course_commands", "restore", "bring back what another command replaced"),
    "render": Command("grader.course_commands", "render", "write the service with some labs solved"),
    "sync": Command("grader.course_commands", "sync", "write the starter anew from the finished service"),
    "incident": Command("grader.incidents.command", "main", "debug a production with a hidden fault (lab 10)"),
    "class": Command("grader.class_command", "grade_class", "grade a class: signed reports, a table, a summary"),
    "verify": Command("grader.class_command", "verify", "say whether reports of a class are as they were signed"),
    "check": Command("grader.course_commands", "check", "prove that labs, briefs, notebooks and checks agree"),
    "prove": Command("grader.prove", "main", "prove the grader: grade what is faulty, hostile or right, by design"),
}
"""The one list of subcommands. `course NAME …` calls `function(["…"])` of the module named here."""


_OUTPUT_HELP = """also write the report there; may be repeated; without --format its name decides: .json .md .xml
.html .txt"""

_ISOLATE_HELP = """keep the service from seeing anything but itself, and from any network (the default of `course
class`); without it, it runs as you, within limits"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and what to do."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def grade(arguments: Sequence[str] | None = None) -> int:
    """Grade a service. Exit code 0 all passed, 1 some failed, 2 could not grade, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = GRADE.get(words[0]) if words else None
    if command:
        return _run("grade", command, words[1:])
    return _run("grade", Command("grader.cli", "grade_labs", ""), words)


def course(arguments: Sequence[str] | None = None) -> int:
    """Work with the course's files: `course NAME …`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help"}:
        print(f"usage: course COMMAND …\n\n{_listing(COURSE)}\n\ncourse COMMAND --help tells more.")
        return 0 if words else 2
    if words[0] not in COURSE:
        print(f"course: there is no command {words[0]}; choose from {', '.join(COURSE)}", file=sys.stderr)
        return 2
    return _run("course", COURSE[words[0]], words[1:])


def grade_labs(arguments: Sequence[str]) -> int:
    """Parse what stands after `grade` and grade; `--help` ends here, before anything heavy is imported."""
    options = grade_parser().parse_args(spelled_out(arguments))
    from grader.grade_command import run  # noqa: PLC0415 - the parser must not pay for it

    return run(options)


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Let ``--isolate`` stand alone, without taking the next word for its value."""
    return ["--isolate=strangers" if word == "--isolate" else word for word in arguments]


def grade_parser() -> argparse.ArgumentParser:
    """Describe the options of `grade`."""
    parser = Parser(
        prog="grade",
        usage="grade [LABS] [options]\n       grade doctor | audit | list",
        description="Start your service, attack it from outside, and say what holds.",
        epilog=f"other commands:\n{_listing(GRADE)}\n\nexit code: 0 all passed, 1 some failed, 2 could not grade",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("labs", nargs="*", metavar="LABS", help="numbers, ranges, names or all: 4, 1-4, rate_limiting (default: all)")
    add("--service", metavar="DIR", help="the folder of the service (default: $COURSE_SERVICE, else labs/service)")
    add("--hint", action="store_true", help="show the next hint for the first failing check")
    add("--format", choices=("terminal", "json", "markdown", "junit", "html"), help="default: terminal")
    add("--output", metavar="FILE", action="append", default=[], help=_OUTPUT_HELP)
    add("--seed", type=_whole(0), metavar="N", help="repeat a run with its random names, keys and limits")
    add("--verbose", "-v", action="store_true", help="show every check in full")
    add("--no-load", dest="load", action="store_false", help="leave out the load checks")
    add("--load-ui", action="store_true", help="grade nothing: open Locust's page on the service, until Ctrl-C")
    add("--jobs", type=_whole(1), metavar="N", help="labs graded at the same time (default: what the machine can bear)")
    add("--target", metavar="URL", help="grade a service that runs already, as far as can be judged from outside")
    add("--provider", metavar="URL", help="with --target: the model's control port, such as http://127.0.0.1:9101")
    add("--env-file", metavar="FILE", help="with --target: the stack's settings, callers and secrets (default: .env)")
    add("--isolate", choices=("strangers", "off"), metavar="strangers|off", help=_ISOLATE_HELP)
    return parser


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return whole


def _listing(commands: Mapping[str, Command]) -> str:
    return "\n".join(f"  {name:<10} {command.summary}" for name, command in commands.items())


def _run(program: str, command: Command, arguments: Sequence[str]) -> int:
    """Run a command and end as a good program does, however it ends."""
    with _ends_by_exit():
        try:
            code = command(arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            return _reader_gone()
        except ModuleNotFoundError as problem:
            if problem.name != command.module:
                raise
            print(f"{program}: this command is not built yet", file=sys.stderr)
            return 2
    return code


@contextmanager
def _ends_by_exit() -> Iterator[None]:
    """Let SIGTERM end the program by way of every `finally`, so that the terminal gets its cursor back."""
    try:
        before = signal.signal(signal.SIGTERM, _terminated)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(_number: int, _frame: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def _reader_gone() -> int:
    """Nobody reads on: say nothing more, not even at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE
