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


class Server:
    """Everything one provider process serves."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.namespaces: dict[str | None, Namespace] = {}
        self.embeddings = Embeddings()

    async def open(
        self,
        key: str | None,
        seed: int | None = None,
        *,
        number: int = 0,
        topical: bool = False,
        limit: int | None = None,
    ) -> Namespace:
        """Add a namespace on a free port or on the given one. OSError when that port is taken."""
        namespace = Namespace(key, Author(seed, topical=topical), self.embeddings, limit=limit)
        await namespace.listen(functools.partial(openai_api.handle, namespace), number)
        self.namespaces[key] = namespace
        return namespace

    def namespace(self, body: dict[str, Any]) -> Namespace:
        """Give the namespace that a control request is about. KeyError when there is none."""
        return self.namespaces[body["namespace"]]

    def close(self, key: str | None) -> None:
        """Remove a namespace and its port."""
        namespace = self.namespaces.pop(key, None)
        if namespace is not None:
            namespace.script.clear()
            namespace.port.close()

    async def run(self, listener: socket.socket) -> None:
        """Serve the control port until cancelled."""
        warming = asyncio.get_running_loop().run_in_executor(None, tokens.encoding)
        async with await serve(functools.partial(control.handle, self), listener) as server:
            await server.start_serving()
            await warming
            await asyncio.get_running_loop().create_future()
