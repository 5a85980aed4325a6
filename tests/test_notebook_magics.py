"""The magics and what stands behind them: a service, a model and small apps that a notebook talks to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import CapturedIO, capture_output

from grader.course import ROOT
from grader.notebook import TODO, exercise, judge
from grader.notebook.answer import Answer, Answers
from grader.notebook.playing import announcement

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

APP = """\
from fastapi import FastAPI
app = FastAPI()

@app.get("/")
async def root() -> dict:
    return {"message": "hello"}
"""


class Notebook:
    """A kernel without a front end."""

    def __init__(self) -> None:
        self.shell = InteractiveShell()  # type: ignore[no-untyped-call]
        assert self.shell.history_manager
        self.shell.history_manager.enabled = False

    def run(self, source: str) -> str:
        """Run a cell, which must not raise; return what it shows."""
        shown: CapturedIO
        with capture_output() as shown:
            result = self.shell.run_cell(source)  # type: ignore[no-untyped-call]
        result.raise_error()
        texts = [re.sub(r"^Out\[\d+\]:\s*", "", shown.stdout), *(output.data["text/plain"] for output in shown.outputs)]
        return "\n".join(text.rstrip("\n") for text in texts if text)

    def value(self, source: str) -> Any:
        """Return what an expression is worth."""
        return eval(source, self.shell.user_ns)  # noqa: S307 - our own words


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """Open a notebook with the finished service started, and stop it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("COURSE_SERVICE", str(ROOT / "solutions" / "service"))
        patch.chdir(ROOT)
        opened = Notebook()
        opened.run("%load_ext grader")
        assert opened.run("%service start") == "The service in solutions/service runs."
        yield opened
        opened.run("%service stop")


def test_it_talks_to_the_service(notebook: Notebook) -> None:
    assert notebook.run("service.get('/health')").startswith("GET /health → 200 OK")
    answer = notebook.value("service.post('/chat', json={'message': 'Hello there'})")
    assert isinstance(answer, Answer)
    assert answer.ok
    assert answer.json["response"]
    assert "X-API-Key: lab-user-key" in answer.curl
    assert "✓ 200 OK" in answer._repr_html_()


def test_it_speaks_as_somebody_else(notebook: Notebook) -> None:
    assert notebook.value("service.post('/chat', json={'message': 'Hi'}, key=None).status") == 401
    assert notebook.value("service.post('/chat', json={'message': 'Hi'}, key='guest').status") == 403
    login = notebook.value("service.post('/login', data={'username': 'bob', 'password': 'correct-horse-9'}, key=None)")
    notebook.shell.user_ns["token"] = login.json["access_token"]
    assert notebook.value("service.get('/protected', token=token).json")["message"] == "Hello bob"


def test_many_at_once(notebook: Notebook) -> None:
    answers = notebook.value("service.many(['/health'] * 12 + [('GET', '/nowhere')], at_once=6)")
    assert isinstance(answers, Answers)
    assert answers.counts == {200: 12, 404: 1}
    assert repr(answers) == "13 answers: 12 × 200 OK, 1 × 404 Not Found"
    assert "<table>" in answers._repr_html_()


def test_streams_come_as_they_come(notebook: Notebook) -> None:
    events = notebook.value("list(service.stream('/chat/stream', json={'message': 'Tell me'}, key='admin'))")
    assert {event for _, event, _ in events} == {"token", "done"}
    assert [at for at, _, _ in events] == sorted(at for at, _, _ in events)
    refused = notebook.value("list(service.stream('/nowhere', json={}))")
    assert [event for _, event, _ in refused] == ["404"]


def test_the_model_can_be_watched_and_broken(notebook: Notebook) -> None:
    notebook.run("before = provider.bill()\nservice.post('/chat', json={'message': 'Cost me'}, key='admin')")
    assert notebook.value("(provider.bill() - before).calls") == 1
    assert notebook.value("provider.calls('Cost me')[0].model") == "lab-large"
    notebook.run("with provider.fault('500'): broken = service.post('/chat', json={'message': 'Break'}, key='admin')")
    assert notebook.value("broken.status") == 503
    with pytest.raises(ValueError, match="there is no fault"):
        notebook.value("provider.fault('nonsense')")


def test_bill_and_stack_are_shown(notebook: Notebook) -> None:
    assert "tokens, $" in notebook.run("%bill")
    shown = notebook.run("%stack")
    assert all(part in shown for part in ("service", "model", "redis", "database"))


def test_logs_and_metrics(notebook: Notebook) -> None:
    notebook.run("service.get('/health')")
    assert "The service" in notebook.run("%service logs 3") or "said" in notebook.run("%service logs 3")
    assert any(name.startswith("http_requests") for name in notebook.value("service.metrics()"))


def test_a_restart_takes_other_settings(notebook: Notebook) -> None:
    notebook.run("%service restart RATE_LIMIT_REQUESTS=2")
    counts = notebook.value("service.many([('POST', '/chat', {'message': 'Once more'})] * 6, key='admin').counts")
    assert counts[429] >= 4
    notebook.run("%service start")


def test_apps_are_processes_of_their_own(notebook: Notebook) -> None:
    assert notebook.run(f"%%app small\n{APP}") == "small runs."
    assert notebook.value("small.get('/').json") == {"message": "hello"}
    assert "GET /" in notebook.value("small.logs()")
    notebook.run("small.stop()")
    assert notebook.value("small.get('/').error") == "nobody listens there: the service is not running"


def test_an_app_that_does_not_start_names_the_line(notebook: Notebook) -> None:
    shown = notebook.run("%%app bad\nfrom fastapi import FastAPI\napp = FastAPY()\n")
    assert shown.startswith("The app did not start.")
    assert "line 3 of the cell" in shown
    assert "NameError" in shown


def test_grading_shows_verdicts_without_times(notebook: Notebook) -> None:
    shown = notebook.run("%grade 1 root_greets health_says_healthy")
    assert shown.startswith("Lab 1: passed, 2 of 2 points\n  ✓ passed: GET / answers 200")
    assert notebook.run("%hint") == "No check failed, so there is nothing to hint at."


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("%grade 77", "77"),
        ("%grade 1 no_such_check", "has no check 'no_such_check'; it has root_greets"),
        ("%grade --nonsense", "unrecognized arguments"),
        ("%service dance", "does not know 'dance'"),
        ("%service restart RATE", "write NAME=VALUE"),
        ("%%app\nx = 1", "required: name"),
        ("%%app not-a-name\nx = 1", "no name for a variable"),
    ],
)
def test_bad_words_are_answered_in_a_sentence(notebook: Notebook, words: str, told: str) -> None:
    assert told in notebook.run(words)


def test_stop_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_SERVICE", str(ROOT / "labs" / "service"))
    before = set(psutil.Process().children(recursive=True))
    opened = Notebook()
    opened.run("%load_ext grader")
    opened.run("%service start")
    assert announcement().exists()
    folder = opened.shell.magics_manager.registry["CourseMagics"]._play.folder
    assert opened.run("service.get('/')").startswith("GET / → ")
    opened.run("%service stop")
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not announcement().exists()
    assert not folder.exists()


def test_a_killed_kernel_takes_everything_with_it(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell()
        shell.history_manager.enabled = False
        shell.run_cell("%load_ext grader").raise_error()
        shell.run_cell("%service start").raise_error()
        print("ready", flush=True)
        input()
    """)
    env = {**os.environ, "COURSE_HOME": str(tmp_path), "COURSE_SERVICE": str(ROOT / "labs" / "service")}
    command = [sys.executable, "-W", "ignore", "-c", script]
    with subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as kernel:
        assert kernel.stdout
        assert any(line.startswith(b"ready") for line in kernel.stdout)
        below = psutil.Process(kernel.pid).children(recursive=True)
        assert len(below) > 3
        kernel.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs(below, timeout=20)[1]


def test_importing_starts_nothing() -> None:
    script = "import sys, grader.notebook.magics, grader.notebook.judge; print('gevent' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "False\n"


@judge.exercise_check("00-of-this-test")
def doubled(value: Any, draw: Any) -> None:
    number = draw.randint(1, 9)
    judge.demand(value(number) == 2 * number, f"twice {number} is {2 * number}")


def bare(number: int) -> int: ...  # type: ignore[empty-body]


def returns_todo(_number: int) -> Any:
    return TODO


def half(number: int) -> Any:
    held = ...
    return held, number


def raises_unfinished(_number: int) -> int:
    raise NotImplementedError


@pytest.mark.parametrize("value", [..., TODO, [1, ...], {"a": TODO}, bare, returns_todo, half, raises_unfinished])
def test_what_is_still_to_do(value: object) -> None:
    assert exercise("00-of-this-test", value).state == "todo"


def test_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_SEED", "3")
    assert repr(exercise("00-of-this-test", lambda n: n + n)) == "passed"
    assert repr(exercise("00-of-this-test", lambda n: n)).endswith("(seed 3)")
    assert repr(exercise("00-of-this-test", lambda n: n / 0)).startswith("failed: ZeroDivisionError")
    assert "✗ failed" in exercise("00-of-this-test", lambda n: n)._repr_html_()
    with pytest.raises(KeyError, match="there is no exercise"):
        exercise("00-unknown", 1)
    with pytest.raises(KeyError, match="there is no exercise"):
        exercise("99-unknown", 1)
