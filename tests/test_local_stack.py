"""The stack without containers: up, broken, mended by itself, down, and nothing left."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator

import pytest

from grader.messages import new_message
from tests.compose.project import fetch, until
from tests.local import Local, make, opened


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    changes = {"API_REPLICAS": "2", "COMPOSE_PROFILES": "worker,monitoring"}
    with opened(tmp_path_factory.mktemp("place"), changes) as found:
        yield found


def test_balancer_stands_before_two_replicas(local: Local) -> None:
    assert local.url in local.said
    until(lambda: len({fetch(f"{local.url}/livez")[1].get("x-served-by") for _ in range(6)}) == 2)
    key = {"X-API-Key": local.env["GRADE_API_KEYS"].split(",")[0].partition(":")[2]}
    body = {"message": new_message()}
    assert [fetch(f"{local.url}/chat", body, headers=key)[1]["x-cache"] for _ in range(3)] == ["MISS", "HIT", "HIT"]
    assert fetch(f"{local.url}/chat-async", body, headers=key)[0] == 202


def test_what_is_missing_is_said(local: Local) -> None:
    assert bool(shutil.which("prometheus")) is not ("Prometheus is not on the PATH" in local.said)


def test_second_start_is_refused(local: Local) -> None:
    told = make("up", local.folder)
    assert told.returncode == 2
    assert "is up already" in told.stdout


def test_replica_that_dies_is_started_again(local: Local) -> None:
    local.replicas()[0].send_signal(signal.SIGKILL)
    assert fetch(f"{local.url}/livez")[0] == 200
    log = local.folder / "home" / "stack" / "stack.log"
    until(lambda: re.search(r"api-\d ended with -9; it is started again", log.read_text()))
    until(lambda: len({fetch(f"{local.url}/livez")[1].get("x-served-by") for _ in range(6)}) == 2)


def test_nothing_is_left(local: Local) -> None:
    before = local.processes()
    assert len(before) >= 5
    told = make("down", local.folder)
    assert (told.returncode, told.stdout) == (0, "The stack is down.\n")
    until(lambda: not local.processes())  # the last one is gone a moment after its lock
    assert make("down", local.folder).stdout == "The stack is not up.\n"
