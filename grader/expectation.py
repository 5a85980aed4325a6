"""Assertions that explain themselves: what was promised, what was sent, what came back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grader.exchange import Exchange

MISSING = object()


class Broken(AssertionError):  # noqa: N818  # a promise is broken; nothing erred
    """The service broke a promise; the exchanges show how."""

    def __init__(self, message: str, exchanges: Sequence[Exchange] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.exchanges = tuple(exchanges)


class Inconclusive(Exception):  # noqa: N818  # not an error either
    """The check could not tell, for a reason that lies outside the service."""


class Skip(Exception):  # noqa: N818  # not an error either
    """The check cannot be run here, for a reason that the report gives."""


def expect(exchange: Exchange) -> Expectation:
    """Begin a chain of expectations about one exchange."""
    return Expectation(exchange)


class Expectation:
    """A chain of expectations; each returns itself and raises ``Broken`` when it is not met."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def broken(self, wanted: str) -> Broken:
        """Build the failure for what was wanted of this exchange."""
        return Broken(f"{self.exchange}, {wanted}.", [self.exchange])

    def answered(self) -> Expectation:
        """The service gave a complete HTTP answer."""
        if self.exchange.error or self.exchange.status is None:
            raise Broken(f"{self.exchange}.", [self.exchange])
        return self

    def status(self, *allowed: int, because: str = "") -> Expectation:
        """The status code is one of those allowed."""
        if self.exchange.status is None:
            return self.answered()
        if self.exchange.status not in allowed:
            wanted = " or ".join(str(code) for code in allowed)
            raise self.broken(f"expected {wanted}{f', because {because}' if because else ''}")
        return self.answered()

    def header(self, name: str, wanted: str | Callable[[str], bool] | None = None, *, what: str = "") -> Expectation:
        """A header is there and, if wanted, equals a text (any case) or satisfies a predicate described by ``what``."""
        value = self.exchange.headers.get(name.lower())
        if value is None:
            raise self.broken(f"expected the header {name}{f' ({what})' if what else ''}")
        met = wanted(value) if callable(wanted) else wanted is None or value.lower() == wanted.lower()
        if not met:
            raise self.broken(f"with {name}: {value!r}, expected {what or repr(wanted)}")
        return self

    def content_type(self, wanted: str) -> Expectation:
        """The media type is the one wanted, whatever its parameters."""
        found = self.exchange.headers.get("content-type", "").split(";")[0].strip().lower()
        if found != wanted:
            raise self.broken(f"with content type {found or 'none'}, expected {wanted}")
        return self

    def field(self, path: str, wanted: object = MISSING, *, what: str = "") -> Expectation:
        """A field of the JSON body (``a.b`` for nested ones) is there and equals a value or satisfies a predicate."""
        value = self.find(path)
        if callable(wanted):
            met = bool(wanted(value))
        else:
            met = wanted is MISSING or (value == wanted and isinstance(value, bool) == isinstance(wanted, bool))
        if not met:
            raise self.broken(f"with {path} = {_show(value)}, expected {what or _show(wanted)}")
        return self

    def find(self, path: str) -> Any:  # noqa: ANN401  # JSON can be anything
        """Return a field of the JSON body; its absence breaks the promise."""
        value = self.exchange.json
        for name in path.split("."):
            if not isinstance(value, dict) or name not in value:
                raise self.broken(f"expected a JSON body with the field {path}")
            value = value[name]
        return value

    def contains(self, text: str) -> Expectation:
        """The body contains a text."""
        if text not in self.exchange.text:
            raise self.broken(f"expected a body that contains {text!r}")
        return self

    def lacks(self, text: str, what: str) -> Expectation:
        """Neither body nor headers contain a text; ``what`` says what it is, since it may be a secret."""
        if text in self.exchange.text or any(text in value for value in self.exchange.headers.values()):
            raise self.broken(f"and shows {what}, which must not be there")
        return self

    def problem(self) -> Expectation:
        """The body is an RFC 9457 problem with ``type``, ``title``, ``status`` and ``request_id``."""
        self.content_type("application/problem+json")
        for name in ("type", "title", "status", "request_id"):
            self.field(name)
        return self.field("status", self.exchange.status)


def _show(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


def demand(condition: object, message: str, exchanges: Sequence[Exchange] = ()) -> None:
    """Break the promise with a message unless the condition holds."""
    if not condition:
        raise Broken(message, exchanges)
