# ruff: noqa: INP001  # a script that needs no package
"""Print an .env for docker-compose.yml, with fresh secrets and callers: `python3 stack/new_env.py > .env`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / ".env.example"

ROLES = {"user": 200, "admin": 20, "guest": 20}
"""How many API keys: whoever grades the running stack needs a fresh caller for every check."""

PEOPLE = ("user", "admin", "guest", "user", "admin", "user", "user", "guest", "user", "user")

SECRETS = ("JUPYTER_TOKEN", "GRAFANA_PASSWORD", "PROVIDER_TOKEN", "POSTGRES_PASSWORD", "JWT_SECRET")


def callers() -> dict[str, str]:
    """Return the service's API_KEYS and SEED_USERS, and the keys and passwords behind them."""
    keys = [(role, secrets.token_urlsafe(12)) for role, count in ROLES.items() for _ in range(count)]
    clients = {
        hashlib.sha256(key.encode()).hexdigest(): {"client": f"{role}-{number}", "role": role}
        for number, (role, key) in enumerate(keys)
    }
    users = [
        {"username": f"{role}-{number}", "password": secrets.token_urlsafe(12), "role": role}
        for number, role in enumerate(PEOPLE)
    ]
    visitors = [key for role, key in keys if role == "user"]
    return {
        "API_KEYS": json.dumps(clients, separators=(",", ":")),
        "SEED_USERS": json.dumps(users, separators=(",", ":")),
        "GRADE_API_KEYS": ",".join(f"{role}:{key}" for role, key in keys),
        "LOAD_KEYS": json.dumps(visitors, separators=(",", ":")),
    }


def environment() -> str:
    """Return the example with fresh values where it has those that everybody knows."""
    values = {name: secrets.token_hex(20) for name in SECRETS} | callers()
    values["COURSE_UID"] = str(os.getuid() or 1000)  # no container runs as root

    def filled(line: re.Match[str]) -> str:
        name = line[1]
        return f"{name}='{values[name]}'" if name in values else line[0]

    return re.sub(r"^([A-Z_]+)=.*$", filled, EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


if __name__ == "__main__":
    print(environment(), end="")
