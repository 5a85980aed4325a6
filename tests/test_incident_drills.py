"""Drills: a production that runs, what can be seen of it from another terminal, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from grader import cli
from grader.incidents import postmortem, scene
from grader.incidents.case import Case
from grader.incidents.catalogue import named
from grader.incidents.prometheus import watch
from grader.supervisor import Supervisor
from tests.endings import outliving
from tests.incident_mends import undone

STARTS_WITHIN = 120.0
"""Seconds on a machine that does much else; on a free one it takes five."""

COURSE = [sys.executable, "-c", "import sys; from grader.cli import course; sys.exit(course())"]


pytestmark = pytest.mark.usefixtures("place")


def incident(*words: str) -> int:
    return cli.course(["incident", *words])


class Drill:
    """`course incident start`, as another terminal sees it."""

    def __init__(self, name: str, place: Path) -> None:
        self.log = place / "drill.log"
        self.scratch = place / "tmp"
        self.scratch.mkdir()
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*COURSE, "incident", "start", name, "--minutes", "5"],
                cwd=place,
                env={**os.environ, "TMPDIR": str(self.scratch)},
                stdout=out,
                stderr=out,
            )
        until = time.monotonic() + STARTS_WITHIN
        while "ends production" not in self.said and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert "ends production" in self.said, self.said
        self.below = [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]

    @property
    def said(self) -> str:
        return self.log.read_text()

    def end(self, number: int) -> list[int]:
        """End the command with a signal; return what outlives it."""
        self.process.send_signal(number)
        self.process.wait(60)
        return outliving(self.below, 20)


@pytest.fixture
def drill(place: Path) -> Iterator[Drill]:
    started = Drill("odd-one-out", place)
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


def test_a_drill_can_be_looked_at_and_stopped(drill: Drill, capsys: pytest.CaptureFixture[str]) -> None:
    seen = scene.current()
    assert [replica.name for replica in seen.replicas] == ["a", "b", "c"]
    for words, told in {
        ("health",): "llm healthy database healthy redis healthy",
        ("metrics", "http_requests"): "http_requests_total",
        ("logs", "answered"): '"event": "answered"',
        ("bill",): "calls, ",
        ("redis", "PING"): "PONG",
        ("redis", "INFO", "memory"): "maxmemory_policy:volatile-lru",
        ("redis", "NONSENSE"): "(error)",
        ("sql", "SELECT 41 + 1"): "42",
        ("sql", "SELECT nothing"): "(error)",
        ("status",): seen.url,
    }.items():
        incident(*words)
        assert told in capsys.readouterr().out, words
    incident("dump", "a")
    assert re.search("MainThread|py-spy may not look", capsys.readouterr().out)
    case = Case(named("odd-one-out"))
    assert case.seconds_to_evidence is not None
    with pytest.raises(SystemExit):
        incident("start", "stalled")
    assert "runs already" in capsys.readouterr().err
    assert all((case.folder / "logs" / f"{name}.log").is_symlink() for name in ("a", "b", "c", "worker"))
    visited = [case.folder / "logs" / f"{name}.log" for name in ("a", "b", "c")]
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and not all('"path": "/chat"' in log.read_text() for log in visited):
        time.sleep(0.1)
    assert incident("stop") == 0
    assert drill.process.wait(10) == 128 + signal.SIGTERM
    assert outliving(drill.below, 20) == []
    log = case.folder / "logs" / "a.log"
    assert not log.is_symlink()
    assert '"path": "/chat"' in log.read_text(), "no visitor came"
    text = postmortem.write(case).read_text()
    assert "Timeline (UTC)" in text
    assert "looked metrics http_requests" in text
    assert (case.folder / "postmortem-latency.svg").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_a_drill(number: signal.Signals, place: Path) -> None:
    drill = Drill("stalled", place)
    assert len(drill.below) > 8
    assert drill.end(number) == []
    until = time.monotonic() + 20
    while list(drill.scratch.iterdir()) and time.monotonic() < until:  # a helper takes it away
        time.sleep(0.1)
    assert not list(drill.scratch.iterdir())
    with pytest.raises(scene.NotRunningError):
        scene.current()


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not on the PATH: drills do without it")
def test_prometheus_looks_at_the_replicas(tmp_path: Path) -> None:
    with Supervisor(scratch=tmp_path) as supervisor:
        (page,) = watch(supervisor, tmp_path, ["http://127.0.0.1:9"]).values()
        until = time.monotonic() + STARTS_WITHIN
        found = ""
        while '"127.0.0.1:9"' not in found and time.monotonic() < until:
            with contextlib.suppress(OSError), urlopen(f"{page}/api/v1/targets") as answer:  # noqa: S310  # our own
                found = answer.read().decode()
            time.sleep(0.1)
    assert '"127.0.0.1:9"' in found


def test_hints_guesses_and_points(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(named("crowded"))
    story = case.incident.story
    for hint in story.hints:
        assert incident("hint", "crowded") == 0
        assert hint in capsys.readouterr().out
    incident("hint")
    assert "That was all" in capsys.readouterr().out
    assert incident("causes", "crowded") == 0
    listed = capsys.readouterr().out
    assert all(cause.what in listed for cause in story.causes.values())
    wrong = next(name for name in story.causes if name != story.cause)
    for _ in range(2):
        assert incident("found", wrong, "crowded") == 1
        assert story.causes[wrong].evidence in capsys.readouterr().out
    assert case.points == 0
    assert incident("found", story.cause) == 0
    assert case.points == 3
    case.note("mended")
    assert case.points == 9
    assert incident("list") == 0
    assert re.search(r"crowded .* found and mended +9  configuration", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        incident("found", "gremlins", "crowded")


def test_a_mend_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(named("heavy-metrics"))
    case.lay_out()
    assert incident("prove", "heavy-metrics") == 1
    assert "Not mended: 80 requests" in capsys.readouterr().out
    for edit in undone("heavy-metrics"):
        edit.apply(case.folder)
    assert incident("prove") == 0
    assert "Mended: Forty paths" in capsys.readouterr().out
    assert case.mended
    assert case.points == 6


def test_what_cannot_be_done_is_said_in_a_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["dump", "a"], ["stop"], ["hint"], ["start", "nothing"], ["dance"]):
        with pytest.raises(SystemExit) as ended:
            incident(*words)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert incident("prove", "stalled") == 2
    case = Case(named("stalled"))
    case.lay_out()
    (case.folder / "production.toml").write_text("[settings]\n")
    with pytest.raises(SystemExit):
        incident("start", "stalled")
    assert "production.toml lacks something" in capsys.readouterr().err
    assert not list(place.rglob("running.json"))


def test_a_case_begins_anew_without_losing_the_old_one(place: Path) -> None:
    case = Case(named("stalled"))
    assert case.set_aside() is None
    case.lay_out()
    model = case.folder / "service" / "app" / "model.py"
    model.write_text("mine")
    case.lay_out()
    assert model.read_text() == "mine"
    assert case.set_aside() == place / "labs" / "incidents" / "stalled-1"
    case.lay_out()
    assert "self._llm.invoke(" in model.read_text()
    assert (place / "labs" / "incidents" / "stalled-1" / "service" / "app" / "model.py").read_text() == "mine"


def test_a_postmortem_keeps_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(named("stalled"))
    case.note("started")
    assert incident("postmortem") == 0
    (case.folder / "postmortem.md").write_text("mine")
    assert incident("postmortem") == 0
    assert (case.folder / "postmortem-1.md").read_text() == "mine"
    assert "started" in (case.folder / "postmortem.md").read_text()
    assert "yours to fill in" in capsys.readouterr().out
