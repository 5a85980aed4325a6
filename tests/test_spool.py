from __future__ import annotations

from pathlib import Path

import pytest

from grader import spool
from grader.spool import LogReader, Spool


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "GENERATION", 100)


def test_a_log_is_kept_in_two_generations(tmp_path: Path) -> None:
    written = Spool(tmp_path / "log")
    for number in range(100):
        written.write(f"line {number:03}\n".encode())  # 9 bytes, eleven a generation
    written.close()
    assert {file.name for file in tmp_path.iterdir()} == {"log", "log.1"}
    assert (tmp_path / "log").read_text() == "line 099\n"
    assert (tmp_path / "log.1").read_text().startswith("line 088\n")
    assert spool.tail(tmp_path / "log", 18) == "line 098\nline 099\n"
    assert spool.tail(tmp_path / "log").count("\n") == 12


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        written = Spool(tmp_path / "log")
        written.write(text)
        written.close()
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    assert spool.size_of(tmp_path / "log") == 8


def test_a_reader_follows_from_one_generation_to_the_next(tmp_path: Path) -> None:
    written, reader, read = Spool(tmp_path / "log"), LogReader(tmp_path / "log"), b""
    expected = [f"line {number:03}\n".encode() for number in range(40)]
    for number, line in enumerate(expected):
        written.write(line)
        if number % 7 == 0:
            read += reader.read()
    read += reader.read()
    assert read == b"".join(expected)
    assert reader.read() == b""
    reader.close()
    written.close()


def test_a_reader_starts_where_it_is_told_and_before_there_is_a_log(tmp_path: Path) -> None:
    early = LogReader(tmp_path / "log")
    assert early.read() == b""
    assert spool.tail(tmp_path / "log") == ""
    (tmp_path / "log").write_bytes(b"old new")
    late = LogReader(tmp_path / "log", offset=4)
    assert early.read() == b"old new"
    assert late.read() == b"new"
    early.close()
    late.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    written = Spool(Path("/dev/full"))
    written.write(b"lost\n")
    written.close()
