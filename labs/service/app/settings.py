"""The settings: from the environment only, read once at the start, wrong ones end the process (12factor.net/config)."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    Field,
    Json,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.roles import Role

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=1, allow_inf_nan=False)]
"""A duration of at least one second."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
Username = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]


class Client(BaseModel):
    """Whose API key it is and what it may do."""

    client: Text
    role: Role


class Seed(BaseModel):
    """A user to put into a new database."""

    username: Username
    password: Secret
    role: Role


def has_host_or_path(url: str, *, path: bool) -> bool:
    """Tell whether the part of a URL that says where is there and, for a host, its port is a number."""
    parts = urlsplit(url)
    try:
        return bool(parts.path if path else parts.hostname) and parts.port != 0
    except ValueError:  # its message quotes the port
        return False


def check_redis_url(url: SecretStr) -> SecretStr:
    """Return the address of a Redis: `redis://host:port/0`, `rediss://…` (TLS) or `unix:///path`."""
    scheme = url.get_secret_value().partition("://")[0]
    known = scheme in {"redis", "rediss", "unix"}
    if not known or not has_host_or_path(url.get_secret_value(), path=scheme == "unix"):
        raise ValueError("not the URL of a Redis")
    return url


LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def add_driver(url: SecretStr) -> SecretStr:
    """Return the address of the database with the driver that is installed here."""
    scheme, _, rest = url.get_secret_value().partition("://")
    if scheme not in DRIVERS or not has_host_or_path(url.get_secret_value(), path=scheme == "sqlite"):
        raise ValueError("neither sqlite:///<path> nor postgresql://<user>:<password>@<host>/<name>")
    return SecretStr(f"{DRIVERS[scheme]}://{rest}")


def check_secret_size(secret: SecretStr) -> SecretStr:
    """Return a key for HS256: RFC 7518, section 3.2, asks for as many bits as the hash has."""
    if len(secret.get_secret_value().encode()) < 32:
        raise ValueError("shorter than 32 bytes")
    return secret


SigningKey = Annotated[SecretStr, AfterValidator(check_secret_size)]
RedisUrl = Annotated[SecretStr, AfterValidator(check_redis_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(add_driver)]


def unique_usernames(seeds: list[Seed]) -> list[Seed]:
    """Return the users if no two share a name."""
    if len({seed.username for seed in seeds}) < len(seeds):
        raise ValueError("a username twice")
    return seeds


class Settings(BaseSettings):
    """One field for each variable: `llm_timeout_s` is `LLM_TIMEOUT_S`. Secrets do not print themselves."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, validate_default=False, protected_namespaces=()
    )

    # TODO (lab 2): Read the provider's address and key (required), the model, its deadline and the body limit.

    # TODO (lab 3): Read the keys, the users and their database, what tokens need, and the login throttle.

    # TODO (lab 4): Read how many requests and how many tokens a caller has.

    # TODO (lab 5): Read how long answers are kept, and how alike two questions must be (0: semantic cache off).

    # TODO (lab 6): Read how much to log.

    # TODO (lab 7): Read the model that helps out, and when a breaker opens and closes.

    # TODO (lab 9): Read how long the queue may grow, and how many database connections a process may hold.

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; a wrong or missing variable ends the process and is named, its value is not."""
        try:
            return cls()  # type: ignore[call-arg]  # the environment has them
        except ValidationError as error:
            problems = sorted({f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False)})
            raise SystemExit("The service cannot start. " + "; ".join(problems)) from None
