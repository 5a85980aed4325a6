"""What can go wrong around us, in words of our own; `problems` turns it into answers."""

from __future__ import annotations


class ModelError(Exception):
    """The model gave no answer; the message repeats nothing of what the provider said."""


class ModelUnavailable(ModelError):  # noqa: N818  # the state of a dependency
    """Another model, or the same one later, may answer: 429, 5xx, a time-out, a broken or a malformed answer."""

    def __init__(self, why: str, *, retry_after: float = 1.0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class ModelRefused(ModelError):  # noqa: N818
    """The provider does not accept the request, now or later: any other 4xx."""


class SharedDown(Exception):  # noqa: N818
    """Redis refuses, or hangs."""
