"""Classes: what is taken in, what comes out, and that nobody can change it unseen."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from grader import class_summary, cli, signing
from grader.class_command import REPORTS
from grader.classroom import Classroom, Orders, Row
from grader.course import ROOT
from grader.intake import digest, entries, unpack
from grader.landlock import SIGNALS, version
from grader.report import Report
from grader.submission import MAX_BYTES, BadSubmissionError
from tests import examples
from tests.hostile import WELL

pytestmark = pytest.mark.usefixtures("place")

SCHEMA = json.loads((ROOT / "grader" / "report.schema.json").read_text())

Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Write an archive of the named files."""

    def write(name: str, files: dict[str, str | bytes], link: str = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for inside, content in files.items():
                archive.writestr(inside, content)
            if link:
                info = zipfile.ZipInfo("app/link")
                info.external_attr = 0o120777 << 16
                archive.writestr(info, link)
        return path

    return write


# -- intake ----


def test_archives_are_unpacked_with_unicode_names_and_without_environments(pack: Pack, tmp_path: Path) -> None:
    archive = pack("ünï ☃.zip", {"größe/app/main.py": WELL, "größe/.venv/lib/x.py": "", "__MACOSX/größe/x": ""})
    (entry,) = entries(pack("class/ünï ☃.zip", {"größe/app/main.py": WELL}).parent)
    unpack(archive, tmp_path / "out")
    assert entry.name == "ünï ☃"
    assert entry.lay_out(tmp_path / "laid") == tmp_path / "laid" / "größe"
    assert [path.name for path in (tmp_path / "out").rglob("*.py")] == ["main.py"]


@pytest.mark.parametrize(
    ("files", "link", "told"),
    [
        ({"../outside": "x"}, "", "leaves its folder"),
        ({"/etc/outside": "x"}, "", "leaves its folder"),
        ({"app/main.py": "x"}, "/etc/passwd", "is a link or a device"),
        ({"app/main.py": bytes(MAX_BYTES + 1)}, "", "holds more than 5000 files or 64 MB"),
        ({f"app/{number}.py": "" for number in range(5_001)}, "", "holds more than 5000 files or 64 MB"),
        ({"app": "x", "app/main.py": "x"}, "", "cannot be unpacked"),
    ],
)
def test_bad_archives_are_refused(
    files: dict[str, str | bytes], link: str, told: str, pack: Pack, tmp_path: Path
) -> None:
    archive = pack("bad.zip", files, link)
    with pytest.raises(BadSubmissionError, match=told):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "outside").exists()


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 and then nothing")
    with pytest.raises(BadSubmissionError, match="pack it again"):
        unpack(tmp_path / "bad.zip", tmp_path / "out")


def test_a_list_names_submissions(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# ours\nada/work\n\nbob/work\n")
    assert [(one.name, one.path) for one in entries(tmp_path / "list.txt")] == [
        ("work", tmp_path / "ada" / "work"),
        ("work (2)", tmp_path / "bob" / "work"),
    ]


def test_a_digest_knows_every_change(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("one")
    first = digest(tmp_path)
    (tmp_path / "app" / "__pycache__").mkdir()
    (tmp_path / "app" / "__pycache__" / "main.pyc").write_text("x")
    assert digest(tmp_path) == first
    (tmp_path / "app" / "main.py").write_text("two")
    assert digest(tmp_path) != first


# -- signatures ----


def signed() -> dict[str, Any]:
    report: dict[str, Any] = json.loads(json.dumps(examples.rich().to_dict() | {"class": {"learner": "ada"}}))
    return json.loads(json.dumps(signing.sign(report, signing.private_key())))  # type: ignore[no-any-return]


def test_a_signed_report_follows_the_schema_and_is_genuine() -> None:
    report = signed()
    jsonschema.validate(report, SCHEMA)
    assert signing.examine(report, signing.private_key().public_key()) is signing.Seal.GENUINE


@pytest.mark.parametrize(
    "change",
    [
        {"points": 999},
        {"class": {"learner": "bob"}},
        {"seed": 2},
        {"new": 1},
        {"signature": {"algorithm": "none", "key": "", "value": ""}},
    ],
)
def test_every_change_is_seen(change: dict[str, Any]) -> None:
    key = signing.private_key().public_key()
    assert signing.examine(signed() | change, key) in {signing.Seal.CHANGED, signing.Seal.OTHER_KEY}
    deep = signed()
    deep["labs"][0]["checks"][0]["message"] += " "
    assert signing.examine(deep, key) is signing.Seal.CHANGED


def test_the_key_is_made_once_for_its_owner_only() -> None:
    first = signing.public_text(signing.private_key().public_key())
    assert signing.public_text(signing.private_key().public_key()) == first
    assert signing.key_path().stat().st_mode & 0o777 == 0o600


def test_verify_names_what_is_not_genuine(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = signed()
    files = {"good": report, "forged": report | {"points": 14}, "plain": examples.rich().to_dict()}
    for name, content in files.items():
        (place / f"{name}.json").write_text(json.dumps(content))
    assert cli.course(["verify", "good.json"]) == 0
    assert "good.json: genuine · ada" in capsys.readouterr().out
    assert cli.course(["verify", "good.json", "forged.json", "plain.json", "no.json"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[1:3] == ["forged.json: changed after it was signed", "plain.json: not signed"]
    assert said[3].startswith("no.json: cannot be read")
    cli.course(["verify", "--public"])
    public = capsys.readouterr().out.strip()
    signing.key_path().unlink()
    assert cli.course(["verify", "good.json"]) == 1
    assert "signed with another key" in capsys.readouterr().out
    assert cli.course(["verify", "good.json", "--key", public]) == 0


# -- table and page ----


def test_table_and_page_tell_of_everybody() -> None:
    rows = [
        Row("=1+1", examples.rich(), files=("a.json", "a.html")),
        Row("bob", examples.not_started(), files=("b.json", "b.html")),
        Row("<eve>", cause="eve.zip cannot be unpacked"),
    ]
    lines = list(csv.DictReader(io.StringIO(class_summary.table(rows, [2, 4], 50))))
    assert [line["name"] for line in lines] == ["'=1+1", "bob", "<eve>"]
    assert [line["outcome"] for line in lines] == ["error", "did not start", "not graded"]
    assert lines[1]["max_points"] == "50"
    assert lines[2]["cause"] == "eve.zip cannot be unpacked"
    page = class_summary.page(rows, [2, 4], 50)
    assert "&lt;eve&gt;" in page
    assert 'href="reports/a.html"' in page
    hurdles = class_summary.hurdles(rows)
    assert hurdles
    assert all(one.failed <= one.judged for one in hurdles)


# -- whole classes ----

needs_walls = pytest.mark.skipif(version() < SIGNALS, reason="strangers cannot be kept in on this machine")


@needs_walls
def test_a_class_is_graded_and_resumed(place: Path, pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    pack("class/ada.zip", {"app/main.py": WELL, "app/__init__.py": ""})
    pack("class/bob.zip", {"app/main.py": "import nothing_like_it\n"})
    (place / "class" / "notes.pdf").touch()
    words = ["class", "class", "1", "--out", "out"]
    assert cli.course(words) == 1
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO((place / "out" / "class.csv").read_text()))}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "ada": "failed",
        "bob": "did not start",
        "notes.pdf": "not graded",
    }
    assert rows["ada"]["isolation"].startswith("strangers")
    assert "nothing_like_it" in rows["bob"]["cause"]
    assert cli.course(["verify", *(str(path) for path in (place / "out" / REPORTS).glob("*.json"))]) == 0
    capsys.readouterr()
    assert cli.course([*words, "--resume"]) == 1
    assert capsys.readouterr().out.count("as before") == 1  # bob's says that it does not start
    before = (place / "out" / REPORTS / "bob.json").stat().st_mtime_ns
    forged = json.loads((place / "out" / REPORTS / "ada.json").read_text()) | {"seed": 1}
    (place / "out" / REPORTS / "ada.json").write_text(json.dumps(forged))
    cli.course([*words, "--resume"])
    assert json.loads((place / "out" / REPORTS / "ada.json").read_text()) != forged
    assert (place / "out" / REPORTS / "bob.json").stat().st_mtime_ns == before


def test_reports_of_another_run_are_not_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "class" / "ada").mkdir(parents=True)
    (place / "out" / REPORTS).mkdir(parents=True)
    (place / "out" / REPORTS / "ada.json").touch()
    with pytest.raises(SystemExit):
        cli.course(["class", "class", "--out", "out"])
    assert "add --resume" in capsys.readouterr().err


def test_a_machine_that_cannot_isolate_is_told_before_anybody_waits(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "class" / "ada").mkdir(parents=True)
    monkeypatch.setattr("grader.landlock.version", lambda: 0)
    with pytest.raises(SystemExit, match="2"):
        cli.course(["class", "class", "--out", "out"])
    assert "choose --isolate=off" in capsys.readouterr().err


def test_off_is_said_in_the_report(place: Path) -> None:
    (place / "class" / "ada" / "app").mkdir(parents=True)
    (place / "class" / "ada" / "app" / "main.py").write_text("raise SystemExit\n")
    orders = Orders((1,), place, seed=1, isolate="off", load=False)
    (entry,) = entries(place / "class")
    row = Classroom(orders, signing.private_key()).grade(entry, resume=False)
    assert isinstance(row.report, Report)
    assert row.report.guards["isolation"].startswith("off: ")


@needs_walls
def test_ctrl_c_keeps_what_is_finished(place: Path, pack: Pack) -> None:
    pack("class/a.zip", {"app/main.py": "import nothing_like_it\n"})
    pack("class/b.zip", {"app/main.py": f"import time\ntime.sleep(60)\n{WELL}"})
    command = [sys.executable, "-c", "from grader.cli import course; raise SystemExit(course())"]
    run = subprocess.Popen(
        [*command, "class", "class", "1", "--out", "out"],
        env=os.environ,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    assert run.stdout.readline().startswith("[1/2] a: 0 of")
    run.send_signal(signal.SIGINT)
    assert "1 of 2 graded; go on with --resume" in run.communicate(timeout=60)[1]
    assert run.returncode == cli.INTERRUPTED
    assert [path.name for path in (place / "out" / REPORTS).glob("*.json")] == ["a.json"]
    assert len((place / "out" / "class.csv").read_text().splitlines()) == 2
