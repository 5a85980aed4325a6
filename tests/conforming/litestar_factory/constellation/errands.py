"""Errands: rows in the database, their ids in lists of Redis. `python -m constellation.errands` is a worker.

A worker moves an id from the common list to one of its own, and takes it out when the errand is done. As long as it
lives it says so; what stands in the list of one that says nothing any more goes back to the common list.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from typing import Any

import httpx
import msgspec
import sqlalchemy as sa
from redis.exceptions import RedisError
from sqlalchemy.exc import IntegrityError

from .answers import digest
from .books import GONE, Books, errands
from .memory import Lost, Memory
from .options import Options, read
from .oracle import Hopeless, Oracle, Unavailable
from .watch import take_over_logging

KEPT_S = 1800
QUEUE, BUSY, ALIVE = "errands", "errands-of:", "alive:"
ALIVE_S = 6


class Full(Exception):  # noqa: N818
    """Too many errands wait."""


class Other(Exception):  # noqa: N818
    """The key was used for something else."""


class Errands:
    def __init__(self, options: Options, books: Books, memory: Memory) -> None:
        self.options = options
        self.books = books
        self.memory = memory

    async def add(self, caller: str, key: str | None, text: str, temperature: float) -> str:
        """The errand's id, an earlier one's if the key is known. Raises Full, Other and Lost."""
        redis: Any = self.memory.redis
        await self.memory.sure(redis.ping())
        body = msgspec.json.encode([text, float(temperature)]).decode()
        row = {"id": secrets.token_urlsafe(16), "caller": caller, "key": key, "body": body, "state": "processing"}
        try:
            known = await self.books.do(lambda connection: self.put(connection, row))
        except IntegrityError:
            known = await self.books.do(lambda connection: self.known(connection, row))
        if known:
            return str(known)
        try:
            await self.memory.sure(redis.rpush(QUEUE, row["id"]))
        except Lost:
            gone = sa.delete(errands).where(errands.c.id == row["id"])
            await self.books.do(lambda connection: connection.execute(gone).rowcount)
            raise
        return str(row["id"])

    def put(self, connection: sa.Connection, row: dict[str, Any]) -> str | None:
        if known := self.known(connection, row):
            return known
        now = time.time()
        connection.execute(sa.delete(errands).where(errands.c.born < now - KEPT_S, errands.c.state != "processing"))
        waiting = sa.select(sa.func.count()).where(errands.c.state == "processing")
        if (connection.scalar(waiting) or 0) >= self.options.queue_max:
            raise Full
        connection.execute(sa.insert(errands).values(born=now, **row))
        return None

    def known(self, connection: sa.Connection, row: dict[str, Any]) -> str | None:
        if row["key"] is None:
            return None
        same = errands.c.caller == row["caller"], errands.c.key == row["key"]
        found = connection.execute(sa.select(errands.c.id, errands.c.body).where(*same)).first()
        if found and found.body != row["body"]:
            raise Other
        return found.id if found else None

    async def look(self, caller: str, name: str) -> tuple[str, Any] | None:
        asked = sa.select(errands.c.state, errands.c.result).where(errands.c.id == name, errands.c.caller == caller)
        row = await self.books.do(lambda connection: connection.execute(asked).first())
        return (row.state, msgspec.json.decode(row.result) if row.result else None) if row else None


class Worker:
    def __init__(self, books: Books, memory: Memory, oracle: Oracle) -> None:
        self.books = books
        self.redis: Any = memory.redis
        self.oracle = oracle
        self.name = digest(secrets.token_bytes(8))[:10]

    async def live(self) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError):
                await self.redis.set(ALIVE + self.name, 1, ex=ALIVE_S)
            await asyncio.sleep(ALIVE_S / 4)

    async def run(self) -> None:
        while True:
            try:
                name = await self.redis.blmove(QUEUE, BUSY + self.name, 1, "LEFT", "RIGHT")
                if name is None:
                    await self.inherit()
                else:
                    await self.do(name.decode())
                    await self.redis.lrem(BUSY + self.name, 1, name)
            except (RedisError, OSError, *GONE):
                logging.getLogger("constellation").warning("try again")
                await asyncio.sleep(1)

    async def inherit(self) -> None:
        async for busy in self.redis.scan_iter(match=BUSY + "*"):
            if not await self.redis.exists(ALIVE + busy.decode().removeprefix(BUSY)):
                await self.redis.lmove(busy, QUEUE, "LEFT", "RIGHT")

    async def do(self, name: str) -> None:
        mine = errands.c.id == name, errands.c.state == "processing"
        body = await self.books.do(lambda connection: connection.scalar(sa.select(errands.c.body).where(*mine)))
        if body is None:
            return
        try:
            said = await self.oracle.say(*msgspec.json.decode(body))
            told = {"response": said.text, "tokens_used": said.tokens, "model": said.model}
            outcome = {"state": "complete", "result": msgspec.json.encode(told).decode()}
        except (Unavailable, Hopeless):
            outcome = {"state": "failed", "result": ""}
        done = sa.update(errands).where(*mine).values(outcome)
        await self.books.do(lambda connection: connection.execute(done).rowcount)


async def main() -> None:
    options = read()
    take_over_logging(options.log_level)
    books, memory = Books(options), Memory(options)
    async with open_http(options) as http, asyncio.TaskGroup() as group:
        oracle = Oracle(options, http)
        for _ in range(3):
            worker = Worker(books, memory, oracle)
            group.create_task(worker.live())
            group.create_task(worker.run())


def open_http(options: Options) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {options.openai_api_key}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=40)
    base = options.openai_base_url.rstrip("/") + "/"
    return httpx.AsyncClient(base_url=base, headers=headers, timeout=options.llm_timeout_s, limits=limits)


if __name__ == "__main__":
    asyncio.run(main())
