"""Settings as a msgspec structure."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

Filled = Annotated[str, Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0, lt=1e12)]
Seconds = Annotated[float, Meta(ge=1, lt=1e12)]
Count = Annotated[int, Meta(ge=1)]
Rank = Annotated[str, Meta(pattern="^(guest|user|admin)$")]


class Client(msgspec.Struct):
    client: Filled
    role: Rank


class Seed(msgspec.Struct):
    username: Annotated[str, Meta(pattern="^[a-z0-9_-]{1,32}$")]
    password: Filled
    role: Rank


Keys = dict[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")], Client]
Seeds = Annotated[list[Seed], Meta(max_length=10)]


class Options(msgspec.Struct, rename=str.upper):
    openai_base_url: Annotated[str, Meta(pattern="^https?://")]
    openai_api_key: Filled
    jwt_secret: Annotated[str, Meta(min_length=1)]
    jwt_issuer: Filled
    jwt_audience: Filled
    llm_model: Filled = "lab-large"
    llm_fallback_model: Filled = "lab-small"
    llm_embed_model: Filled = "lab-embed"
    llm_timeout_s: Positive = 5.0
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 262144
    database_url: Annotated[str, Meta(pattern="^(sqlite:///|postgresql://).")] = "sqlite:///./service.db"
    jwt_ttl_s: Seconds = 1800.0
    login_max_failures: Count = 5
    login_window_s: Seconds = 60.0
    rate_limit_requests: Count = 10
    rate_limit_window_s: Seconds = 60.0
    bucket_capacity: Count = 100
    bucket_refill_per_s: Positive = 10.0
    redis_url: Annotated[str, Meta(pattern="^(rediss?|unix)://")] = "redis://127.0.0.1:6379/0"
    cache_ttl_s: Seconds = 3600.0
    cache_stale_ttl_s: Seconds = 86400.0
    semantic_cache_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0
    breaker_failures: Count = 5
    breaker_cooldown_s: Seconds = 10.0
    queue_max: Count = 100
    db_pool_size: Count = 5
    db_max_overflow: Annotated[int, Meta(ge=0)] = 5
    log_level: Annotated[str, Meta(pattern="^(?i:debug|info|warning|error|critical)$")] = "INFO"
    api_keys: Keys = {}
    seed_users: Seeds = []


def one(name: str, kind: Any, value: str) -> Any:
    """Convert a variable, or end the process."""
    try:
        if name in {"api_keys", "seed_users"}:
            return msgspec.json.decode(value, type=kind)
        converted = msgspec.convert(value, kind, strict=False)
        if name.endswith("_url"):
            _ = urlsplit(value).port
    except (msgspec.MsgspecError, ValueError):
        sys.exit(f"{name.upper()} is not as it must be")
    if name == "jwt_secret" and len(value.encode()) < 32:
        sys.exit("JWT_SECRET has fewer than 32 bytes")
    return converted


def read() -> Options:
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(Options):
        value = os.environ.get(field.encode_name)
        if value is not None:
            given[field.name] = one(field.name, field.type, value)
        elif field.required:
            sys.exit(f"{field.encode_name} is missing")
    return Options(**given)
