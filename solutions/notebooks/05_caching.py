"""Notebook 05: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-05-key
import hashlib
import json


def cache_key(caller: str, message: str, temperature: float, model: str) -> str:
    parts = json.dumps([caller, message, temperature, model])
    return hashlib.sha256(parts.encode()).hexdigest()


# WRONG exercise-05-key
import hashlib
import json


def cache_key(caller: str, message: str, temperature: float, model: str) -> str:
    return hashlib.sha256(f"{caller}:{message}:{temperature}:{model}".encode()).hexdigest()


# CELL exercise-05-flight
import asyncio

flights = {}


async def once(key, ask):
    "Return what `await ask()` gives; whoever comes meanwhile waits for the same call."
    if key not in flights:
        flights[key] = asyncio.ensure_future(ask())
        flights[key].add_done_callback(lambda _: flights.pop(key))
    return await asyncio.shield(flights[key])


# WRONG exercise-05-flight
import asyncio

flights = {}


async def once(key, ask):
    if key not in flights:
        flights[key] = asyncio.ensure_future(ask())
        flights[key].add_done_callback(lambda _: flights.pop(key))
    return await flights[key]


# CELL exercise-05-guard
import re

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NEGATION = re.compile(r"\b(?:not|no|never|none|without|cannot)\b|n['’]t\b", re.IGNORECASE)


def may_share(one: str, two: str) -> bool:
    same_numbers = NUMBER.findall(one) == NUMBER.findall(two)
    same_sign = bool(NEGATION.search(one)) == bool(NEGATION.search(two))
    return same_numbers and same_sign


# WRONG exercise-05-guard
import re

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NEGATION = re.compile(r"\b(?:not|no|never|none|without|cannot)\b|n['’]t\b", re.IGNORECASE)


def may_share(one: str, two: str) -> bool:
    return set(NUMBER.findall(one)) == set(NUMBER.findall(two)) and ("not" in one) == ("not" in two)


# CELL exercise-05-nearest
def nearest(vectors: np.ndarray, vector: np.ndarray, threshold: float) -> int | None:
    cosines = vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)
    best = int(cosines.argmax())
    return best if cosines[best] >= threshold else None


# WRONG exercise-05-nearest
def nearest(vectors: np.ndarray, vector: np.ndarray, threshold: float) -> int | None:
    best = int((vectors @ vector).argmax())
    return best if vectors[best] @ vector >= threshold else None
