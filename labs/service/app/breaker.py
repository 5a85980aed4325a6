"""The circuit breaker: a model that keeps failing is left alone for a while (section 7; M. Nygard, Release It!)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


# TODO (lab 7): Stop asking a model that has failed several times in a row; after a pause let one request try it.
