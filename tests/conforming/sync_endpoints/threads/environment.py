"""Settings by pydantic, from the environment."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, Json, StringConstraints, ValidationError

Role = Literal["guest", "user", "admin"]
Some = Annotated[str, StringConstraints(min_length=1)]
Seconds = Annotated[float, Field(ge=1, allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1)]


def address(url: str) -> str:
    if urlsplit(url).port == 0:
        raise ValueError("port 0")
    return url


Address = AfterValidator(address)


def at_least_32_bytes(secret: str) -> str:
    if len(secret.encode()) < 32:
        raise ValueError("too short")
    return secret


class Client(BaseModel):
    client: Some
    role: Role


class Person(BaseModel):
    username: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]
    password: Some
    role: Role


class Environment(BaseModel):
    OPENAI_BASE_URL: Annotated[str, StringConstraints(pattern=r"^https?://"), Address]
    OPENAI_API_KEY: Some
    LLM_MODEL: Some = "lab-large"
    LLM_FALLBACK_MODEL: Some = "lab-small"
    LLM_EMBED_MODEL: Some = "lab-embed"
    LLM_TIMEOUT_S: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5
    MAX_BODY_BYTES: Annotated[int, Field(ge=1024)] = 262144
    API_KEYS: Json[dict[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")], Client]] = {}
    SEED_USERS: Json[Annotated[list[Person], Field(max_length=10)]] = []
    DATABASE_URL: Annotated[str, StringConstraints(pattern=r"^(sqlite|postgresql)://"), Address] = (
        "sqlite:///./service.db"
    )
    JWT_SECRET: Annotated[str, AfterValidator(at_least_32_bytes)]
    JWT_ISSUER: Some
    JWT_AUDIENCE: Some
    JWT_TTL_S: Seconds = 1800
    LOGIN_MAX_FAILURES: AtLeastOne = 5
    LOGIN_WINDOW_S: Seconds = 60
    RATE_LIMIT_REQUESTS: AtLeastOne = 10
    RATE_LIMIT_WINDOW_S: Seconds = 60
    BUCKET_CAPACITY: AtLeastOne = 100
    BUCKET_REFILL_PER_S: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10
    CACHE_TTL_S: Seconds = 3600
    CACHE_STALE_TTL_S: Seconds = 86400
    SEMANTIC_CACHE_THRESHOLD: Annotated[float, Field(ge=0, le=1)] = 0
    BREAKER_FAILURES: AtLeastOne = 5
    BREAKER_COOLDOWN_S: Seconds = 10
    QUEUE_MAX: AtLeastOne = 100
    DB_POOL_SIZE: AtLeastOne = 5
    DB_MAX_OVERFLOW: Annotated[int, Field(ge=0)] = 5
    LOG_LEVEL: Annotated[str, StringConstraints(pattern="^(?i:debug|info|warning|error|critical)$")] = "INFO"
    REDIS_URL: Annotated[str, StringConstraints(pattern=r"^(rediss?|unix)://"), Address] = "redis://127.0.0.1:6379/0"


def read() -> Environment:
    """Read the environment, or end the process."""
    known: dict[str, Any] = {name: os.environ[name] for name in Environment.model_fields if name in os.environ}
    try:
        return Environment.model_validate(known)
    except ValidationError as error:
        for each in error.errors(include_input=False, include_context=False, include_url=False):
            print(f"{each['loc'][0]} is {each['type']}", file=sys.stderr)
        sys.exit(2)
