"""Plan: what runs in production, as ``production.toml`` of a case says it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAN = "production.toml"

PRODUCTION = """\
# What runs in production: what compose.yaml, the balancer's and Redis's configuration say elsewhere.
# Change it as you would change those; `course incident prove` builds everything anew from this file.

[settings] # the environment of every replica and of the worker, labs/CONTRACT.md tells what it means
RATE_LIMIT_REQUESTS = 120
RATE_LIMIT_WINDOW_S = 60
LLM_TIMEOUT_S = 4
CACHE_TTL_S = 3600
BREAKER_FAILURES = 5
BREAKER_COOLDOWN_S = 2
DB_POOL_SIZE = 3
DB_MAX_OVERFLOW = 1
QUEUE_MAX = 40

[[replicas]]
name = "a"
service = "service" # the folder whose code it runs
[replicas.env] # on top of the settings

[[replicas]]
name = "b"
service = "service"
[replicas.env]

[[replicas]]
name = "c"
service = "service"
[replicas.env]

[worker]
service = "service"

[balancer]
health = "/readyz" # replicas that do not answer it with 2xx get no requests
interval_s = 0.25

[redis]
maxmemory = "16mb"
maxmemory-policy = "volatile-lru"
"""
"""A production without a fault."""


class BadPlanError(Exception):
    """The file cannot be followed; the text says why."""


@dataclass(frozen=True)
class Replica:
    """One replica: its name, the folder of its code, its environment on top of the settings."""

    name: str
    service: str
    env: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """A production as it was described."""

    settings: dict[str, str]
    replicas: tuple[Replica, ...]
    worker: str
    health: str
    interval: float
    redis: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read the plan of a case. Raises ``BadPlanError``."""
        try:
            plan = cls._of(tomllib.loads((folder / PLAN).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise BadPlanError(f"{PLAN} cannot be read: {error}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise BadPlanError(f"{PLAN} lacks something, or has it in another form: {error}") from None
        if len(plan.replicas) not in range(2, 6):
            raise BadPlanError(f"{PLAN} names {len(plan.replicas)} replicas; two to five can be started.")
        if all(replica.env for replica in plan.replicas):
            raise BadPlanError(f"{PLAN}: at least one replica must run with the settings alone, without an env.")
        for service in {replica.service for replica in plan.replicas} | {plan.worker}:
            if not (folder / service / "app").is_dir():
                raise BadPlanError(f"{PLAN} names the service {service!r}, and there is no folder {service}/app.")
        return plan

    @classmethod
    def _of(cls, table: dict[str, Any]) -> Plan:
        replicas = [Replica(each["name"], each["service"], _texts(each.get("env", {}))) for each in table["replicas"]]
        balancer = table["balancer"]
        return cls(
            settings=_texts(table["settings"]),
            replicas=tuple(replicas),
            worker=table["worker"]["service"],
            health=str(balancer["health"]),
            interval=float(balancer["interval_s"]),
            redis=_texts(table["redis"]),
        )


def _texts(table: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in table.items()}
