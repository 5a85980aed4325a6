"""Answers kept in Redis as JSON, by a digest of the question; questions by meaning in a hash of each caller."""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from concurrent.futures import Future
from typing import Any

import numpy as np

from .environment import Environment
from .ledger import Ledger
from .provider import ChatProvider, Completion, ProviderFailedError

NEGATION = re.compile(r"\b(?:not|no|never|none|without|cannot)\b|n['’]t\b", re.IGNORECASE)
MOST = 128


def same(text: str) -> list[Any]:
    """What must be equal for two texts to mean the same."""
    return [bool(NEGATION.search(text)), *re.findall(r"\d+(?:\.\d+)?", text)]


class Answers:
    def __init__(self, environment: Environment, ledger: Ledger, provider: ChatProvider) -> None:
        self.environment, self.ledger, self.provider = environment, ledger, provider
        self.lock = threading.Lock()
        self.under_way: dict[str, Future[tuple[str, Completion]]] = {}

    def find(self, caller: str, text: str, temperature: float) -> tuple[str, Completion]:
        """Where the answer is from, and the answer; one thread asks, the others that ask the same wait for it."""
        scope = json.dumps([caller, self.environment.LLM_MODEL, float(temperature)])
        key = hashlib.sha1(f"{scope}{text}".encode(), usedforsecurity=False).hexdigest()
        with self.lock:
            waiting = self.under_way.get(key)
            mine = Future[tuple[str, Completion]]()
            if waiting is None:
                self.under_way[key] = mine
        if waiting is not None:
            return waiting.result()
        try:
            mine.set_result(self.look_or_ask(scope, key, text, temperature))
        except BaseException as error:  # noqa: BLE001  # whatever it is, nobody shall wait for ever
            mine.set_exception(error)
        finally:
            with self.lock:
                del self.under_way[key]
        return mine.result()

    def look_or_ask(self, scope: str, key: str, text: str, temperature: float) -> tuple[str, Completion]:
        if fresh := self.kept(key, self.environment.CACHE_TTL_S):
            return "HIT", fresh
        space = "space:" + hashlib.sha1(scope.encode(), usedforsecurity=False).hexdigest()
        wanted = self.environment.SEMANTIC_CACHE_THRESHOLD > 0
        vector = self.provider.embedding(text) if wanted else None
        if vector and (alike := self.alike(space, text, vector)):
            return "SEMANTIC", alike
        try:
            completion = self.provider.complete(text, temperature)
        except ProviderFailedError:
            if stale := self.kept(key, self.environment.CACHE_STALE_TTL_S):
                return "STALE", stale._replace(degraded=True)
            raise
        if not completion.degraded:
            self.ledger.wished(lambda: self.keep(space, key, text, vector, completion))
        return "MISS", completion

    def kept(self, key: str, longest: float) -> Completion | None:
        found = self.ledger.wished(lambda: self.ledger.redis.get(f"answer:{key}"))
        if not found:
            return None
        since, *parts = json.loads(found)
        return Completion(*parts) if time.time() < since + longest else None

    def keep(self, space: str, key: str, text: str, vector: list[float] | None, completion: Completion) -> None:
        longest = math.ceil(max(self.environment.CACHE_TTL_S, self.environment.CACHE_STALE_TTL_S))
        self.ledger.redis.set(f"answer:{key}", json.dumps([time.time(), *completion[:3]]), ex=longest)
        if vector:
            entry = json.dumps([time.time(), same(text), vector])
            pipe = self.ledger.redis.pipeline()
            pipe.hset(space, key, entry)
            pipe.expire(space, math.ceil(self.environment.CACHE_TTL_S))
            pipe.hlen(space)
            if pipe.execute()[-1] > MOST:
                self.forget_oldest(space)

    def forget_oldest(self, space: str) -> None:
        everything: Any = self.ledger.redis.hgetall(space)
        oldest = sorted(everything, key=lambda field: float(json.loads(everything[field])[0]))
        self.ledger.redis.hdel(space, *oldest[:-MOST])

    def alike(self, space: str, text: str, vector: list[float]) -> Completion | None:
        everything = self.ledger.wished(lambda: self.ledger.redis.hgetall(space)) or {}
        entries = [(key, *json.loads(entry)) for key, entry in everything.items()]
        young = time.time() - self.environment.CACHE_TTL_S
        entries = [
            each for each in entries if each[1] > young and each[2] == same(text) and len(each[3]) == len(vector)
        ]
        if not entries:
            return None
        table = np.array([each[3] for each in entries])
        cosines = table @ np.array(vector) / (np.linalg.norm(table, axis=1) * np.linalg.norm(vector))
        best = int(np.argmax(cosines))
        if cosines[best] < self.environment.SEMANTIC_CACHE_THRESHOLD:
            return None
        return self.kept(entries[best][0].decode(), self.environment.CACHE_TTL_S)
