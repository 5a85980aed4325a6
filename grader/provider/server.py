"""The provider as a whole: its namespaces, each on a port of its own, and the control port."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from grader.provider import control, openai_api, tokens
from grader.provider.answers import Author
from grader.provider.connection import serve
from grader.provider.embeddings import Embeddings
from grader.provider.namespace import Namespace

if TYPE_CHECKING:
    import socket


LEARNER_KEY = "sk-lab-learner"


class Server:
    """Everything one provider process serves."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.namespaces: dict[str, Namespace] = {}
        self.embeddings = Embeddings()

    async def open(self, key: str, seed: int | None = None) -> Namespace:
        """Add a namespace for a grader, on a free port."""
        return await self._add(Namespace(key, Author(seed), self.embeddings))

    async def open_for_learner(self, number: int, seed: int | None = None, host: str = "127.0.0.1") -> Namespace:
        """Add a namespace that takes any key, on a port that the learner knows. OSError when it is taken."""
        author = Author(seed, topical=True)
        return await self._add(Namespace(LEARNER_KEY, author, self.embeddings, lenient=True, limit=5000), number, host)

    async def _add(self, namespace: Namespace, number: int = 0, host: str = "127.0.0.1") -> Namespace:
        await namespace.listen(functools.partial(openai_api.handle, namespace), number, host)
        self.namespaces[namespace.key] = namespace
        return namespace

    def namespace(self, body: dict[str, Any]) -> Namespace:
        """Give the namespace that a control request is about. KeyError when there is none."""
        return self.namespaces[body["namespace"]]

    def close(self, key: str) -> None:
        """Remove a namespace and its port."""
        namespace = self.namespaces.pop(key, None)
        if namespace is not None:
            namespace.script.clear()
            namespace.port.close()

    async def run(self, listener: socket.socket) -> None:
        """Serve the control port until cancelled."""
        warming = asyncio.get_running_loop().run_in_executor(None, tokens.encoding)
        await serve(functools.partial(control.handle, self), listener)
        await warming
        await asyncio.get_running_loop().create_future()
