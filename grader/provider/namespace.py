"""A namespace: one API key with a port, a ledger and a script of its own, so that parallel users never meet."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING

from grader.provider.connection import Port
from grader.provider.embeddings import hashed, shortened
from grader.provider.ledger import Call, Ledger, Match, State
from grader.provider.script import Latency, Script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grader.provider.answers import Author
    from grader.provider.connection import Handler, Request
    from grader.provider.embeddings import Embeddings


class Namespace:
    """What belongs to one API key; a lenient one takes any key, as long as there is one.

    ``semantic`` is off at first where a grader works: loading the embedding model takes a second and more in which no
    check should have to wait for it, and verdicts rest on scripted vectors anyway.
    """

    def __init__(
        self, key: str, author: Author, embeddings: Embeddings, *, lenient: bool = False, limit: int | None = None
    ) -> None:
        self.key = key
        self.lenient = lenient
        self.semantic = lenient
        self.author = author
        self.embeddings = embeddings
        self.ledger = Ledger(limit)
        self.script = Script()
        self.vectors: dict[str, Sequence[float]] = {}
        self.switches: dict[str, tuple[str, int]] = {}
        self.port: Port

    async def listen(self, handler: Handler, number: int = 0, host: str = "127.0.0.1") -> None:
        """Open the namespace's port. OSError when the port is taken."""
        self.port = Port(handler, number, host)
        await self.port.open()

    @property
    def base_url(self) -> str:
        """What clients take as the API's base."""
        return f"http://127.0.0.1:{self.port.number}/v1"

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request bears this namespace's key."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return False
        return self.lenient or hmac.compare_digest(key.encode("latin-1"), self.key.encode())

    async def vector(self, text: str, dimensions: int | None) -> Sequence[float]:
        """Give the scripted vector of a text as it is, or one by its meaning or its letters in so many dimensions."""
        if text in self.vectors:
            return self.vectors[text]
        vector = await self.embeddings.of(text) if self.semantic else hashed(text)
        return vector if dimensions is None else shortened(vector, dimensions)

    async def pause(self, call: Call, tokens: int, latency: Latency | None) -> None:
        """Let the scripted time pass and wait at the gates before the token with this index is sent."""
        if latency is not None and (seconds := latency.per_token if tokens else latency.seconds):
            await asyncio.sleep(seconds)
        for gate in self.script.gates_for(call, tokens):
            self.ledger.note(call, state="held", tokens_sent=tokens)
            await gate.wait()
            self.ledger.note(call, state="running")

    async def wait_for(self, match: Match, count: int, state: State | None, since: int, seconds: float) -> list[Call]:
        """Wait until so many calls match, at most so long; give what is there then."""
        deadline = asyncio.get_running_loop().time() + seconds
        changed = self.ledger.subscribe()
        try:
            while len(found := self.ledger.select(match, state=state, since=since)) < count:
                if not await self.ledger.wait(changed, deadline - asyncio.get_running_loop().time()):
                    break
        finally:
            self.ledger.unsubscribe(changed)
        return found

    async def wait_held(self, gate: int, count: int, seconds: float) -> int:
        """Wait until so many calls are held at a gate, at most so long; give how many are."""
        deadline = asyncio.get_running_loop().time() + seconds
        changed = self.ledger.subscribe()
        try:
            while (held := self.script.gates[gate].held) < count:
                if not await self.ledger.wait(changed, deadline - asyncio.get_running_loop().time()):
                    break
        finally:
            self.ledger.unsubscribe(changed)
        return held


def safe_headers(request: Request) -> dict[str, str]:
    """Give a request's headers without the key."""
    return {name: value for name, value in request.headers.items() if name != "authorization"}
