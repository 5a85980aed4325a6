"""Dependencies looked after in the background: probes answer from memory, they wait for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from app.health import Vitals
from fastapi import FastAPI

EVERY_S = 0.7


class Rounds(Vitals):
    """What was seen on the last round."""

    async def look(self) -> dict[str, bool]:
        return self._seen

    async def go(self) -> None:
        self._seen = await self._look()

    async def go_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.go()


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, go round."""
    rounds = app.state.vitals = Rounds(app)
    await rounds.go()
    going = asyncio.create_task(rounds.go_on())
    yield
    going.cancel()
    with suppress(asyncio.CancelledError):
        await going
