"""Users in a table of SQLAlchemy's Core; passwords by scrypt of the standard library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
import time

from sqlalchemy import Column, MetaData, String, Table, create_engine, delete, event, insert, inspect, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from .environment import Environment

METADATA = MetaData()
PEOPLE = Table(
    "accounts",
    METADATA,
    Column("username", String, primary_key=True),
    Column("password", String, nullable=False),
    Column("role", String, nullable=False),
)


def scrypt(password: str, salt: bytes | None = None) -> str:
    salt = salt or os.urandom(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    return "$".join(["scrypt", base64.b64encode(salt).decode(), base64.b64encode(key).decode()])


def fits(password: str, kept: str) -> bool:
    return hmac.compare_digest(scrypt(password, base64.b64decode(kept.split("$")[1])), kept)


NOBODY = scrypt("nobody")


class People:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        url = environment.DATABASE_URL.replace("postgresql://", "postgresql+psycopg://")
        if url.startswith("sqlite"):
            self.engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        else:
            self.engine = create_engine(
                url,
                hide_parameters=True,
                pool_size=environment.DB_POOL_SIZE,
                max_overflow=environment.DB_MAX_OVERFLOW,
                pool_pre_ping=True,
                pool_timeout=5,
                connect_args={"connect_timeout": 2},
            )
        if self.engine.dialect.name == "sqlite":
            one_writer_at_a_time(self.engine)

    def begin(self) -> None:
        """Create and fill the table, now or as soon as there is a database."""
        if not self.try_create():
            threading.Thread(target=self.keep_trying, daemon=True).start()

    def keep_trying(self) -> None:
        while not self.try_create():
            time.sleep(0.3)

    def try_create(self) -> bool:
        rows = [
            {"username": each.username, "password": scrypt(each.password), "role": each.role}
            for each in self.environment.SEED_USERS
        ]
        try:
            with self.engine.begin() as connection:
                self.create(connection, rows)
        except SQLAlchemyError:
            return False
        return True

    def create(self, connection: Connection, rows: list[dict[str, str]]) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(8)")
        if not inspect(connection).has_table(PEOPLE.name):
            METADATA.create_all(connection)
            if rows:
                connection.execute(insert(PEOPLE), rows)

    def ready(self) -> None:
        with self.engine.connect() as connection:
            connection.execute(select(PEOPLE.c.role).limit(1)).first()

    def find(self, username: str) -> tuple[str, str] | None:
        if not username.isascii() or "\0" in username:
            return None
        with self.engine.connect() as connection:
            query = select(PEOPLE.c.password, PEOPLE.c.role).where(PEOPLE.c.username == username)
            row = connection.execute(query).first()
        return (row[0], row[1]) if row else None

    def remove(self, username: str) -> bool:
        with self.engine.begin() as connection:
            return (
                connection.execute(delete(PEOPLE).where(PEOPLE.c.username == username.replace("\0", ""))).rowcount == 1
            )


def one_writer_at_a_time(engine: Engine) -> None:
    """Let transactions of SQLite begin with the lock for writing."""

    @event.listens_for(engine, "connect")
    def connected(connection: object, _: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
