"""Token counts without a network, and the cutting of texts."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from grader.provider import tokens
from grader.provider.answers import Author, pieces

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
COUNT = """
import socket, sys, tiktoken
def refuse(*_): raise OSError("no network here")
socket.socket.connect = refuse
print([tiktoken.get_encoding(name).encode("hello world") for name in ("cl100k_base", "o200k_base")])
"""


def test_seeded_vocabularies_are_openais(tmp_path: Path) -> None:
    directory = tokens.seed_tiktoken(tmp_path / "seeded")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
    assert digests == set(SHA256.values())
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    tokens.seed_tiktoken(directory)
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_tiktoken_then_needs_no_network(tmp_path: Path) -> None:
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(tokens.seed_tiktoken(tmp_path))}
    said = subprocess.run(
        [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said == "[[15339, 1917], [24912, 2375]]\n"


def test_cache_follows_the_users_wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tokens.cache_directory().is_relative_to(tmp_path)
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "other"))
    assert tokens.cache_directory().is_relative_to(tmp_path / "other")


def test_special_marks_and_odd_characters_are_text() -> None:
    assert tokens.count("<|endoftext|>") > 1
    assert tokens.count("\ud800") > 0
    assert tokens.count("") == 0


def test_prompt_of_parts() -> None:
    plain: list[dict[str, object]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello world"},
    ]
    parts: list[dict[str, object]] = [
        plain[0],
        {"role": "user", "content": [{"type": "text", "text": "hello world"}, {"type": "image_url"}]},
    ]
    assert tokens.count_prompt(plain) == tokens.count_prompt(parts) == 3 + 3 + 1 + 3 + 3 + 1 + 2


def test_first_tokens() -> None:
    assert tokens.first("hello world again", 2) == "hello world"
    assert tokens.first("🦉", 1) == ""


@pytest.mark.parametrize("content", ["", "x", "four words are here", " lead and trail \n", "🦉🦉", "a b c d e f g"])
def test_pieces_make_the_whole(content: str) -> None:
    cut = pieces(content)
    assert "".join(cut) == content
    assert "" not in cut
    assert len(cut) >= min(5, len(content))


def test_author_repeats_only_with_a_seed() -> None:
    assert Author(1).write("same") == Author(1).write("same")
    assert Author().write("same") != Author().write("same")
    assert Author(1).write("same") != Author(2).write("same")
    answers = [Author().write("same") for _ in range(50)]
    assert min(len(pieces(answer)) for answer in answers) >= 15
    assert len({answer.split()[-1] for answer in answers}) == 50
    assert "Never, echo" not in Author().write("Never echo this")
