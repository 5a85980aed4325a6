"""A provider process for tests, and the shortest ways to talk to it."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

import httpx

from grader.provider import ProviderProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import openai

    from grader.provider import Provider


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def stop(self, grace: float = 5.0) -> int:
        self.process.terminate()
        return self.process.wait(grace)


class PlainSupervisor:
    """The least that can start a provider; the test itself must end the process."""

    def spawn(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, fds: Sequence[int] = ()
    ) -> _Process:
        with log.open("wb") as output:
            return _Process(subprocess.Popen(argv, env=dict(env), cwd=cwd, stdout=output, stderr=output, pass_fds=fds))


@contextlib.contextmanager
def running_provider(directory: Path) -> Iterator[ProviderProcess]:
    """A provider process that must have nothing to complain about in its log."""
    process = ProviderProcess.start(PlainSupervisor(), directory)
    try:
        yield process
    finally:
        process.close()
    assert (directory / "provider.log").read_text() == ""


def say(client: openai.OpenAI, text: str, **settings: Any) -> Any:
    return client.chat.completions.create(
        model=settings.pop("model", "lab-large"), messages=[{"role": "user", "content": text}], **settings
    )


def body_of(text: str, *, model: str = "lab-large", stream: bool = False) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}


def http_client(provider: Provider) -> httpx.Client:
    return httpx.Client(
        base_url=provider.base_url, headers={"Authorization": f"Bearer {provider.api_key}"}, timeout=10, trust_env=False
    )
