"""`grade 9 --load-ui`: Locust's page on the service, until Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from grader import cli
from grader.course import ROOT

SOLUTION = ROOT / "solutions" / "service"


def test_the_page_opens_and_ends(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("grade")), "9", "--load-ui", "--service", str(SOLUTION)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout
            said = "".join(process.stdout.readline() for _ in range(3))
            found = re.search(r"Locust: +(http://\S+)", said)
            assert found, said
            with urllib.request.urlopen(found[1], timeout=30) as page:  # noqa: S310  # our own address
                assert b"Locust" in page.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(found[1], timeout=5)  # noqa: S310


def test_a_service_that_does_not_start_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("import nowhere_to_be_found\n")
    assert cli.grade(["9", "--load-ui", "--service", str(tmp_path)]) == 2
    assert "nowhere_to_be_found" in capsys.readouterr().err
