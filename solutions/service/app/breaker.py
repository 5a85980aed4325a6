"""The circuit breaker: a model that keeps failing is left alone for a while (section 7; M. Nygard, Release It!)."""

from __future__ import annotations

import time  # SOLUTION 7
from contextlib import contextmanager  # SOLUTION 7
from typing import TYPE_CHECKING

from app.errors import ModelUnavailable  # SOLUTION 7

if TYPE_CHECKING:
    from collections.abc import Iterator


# BEGIN SOLUTION 7: Stop asking a model that has failed several times in a row; after a pause let one request try it.
class Breaker:
    """The breaker of one model in one process: closed, open, or tried by one call, the probe."""

    def __init__(self, failures: int, cooldown: float) -> None:
        self._allowed = failures
        self._cooldown = cooldown
        self._failed = 0
        self._open_until = 0.0
        self._probed = False

    @contextmanager
    def call(self, *, fair: bool = True) -> Iterator[None]:
        """Run one call under the breaker's eyes. Raises ModelUnavailable at once while the model is left alone.

        The failure of a call that is not `fair`, because it has too little time, is not the model's.
        """
        probing = self._failed >= self._allowed
        if probing:
            self._refuse_unless_due()
            self._probed = True
        try:
            yield
        except ModelUnavailable:
            self._failed += fair
            self._open_until = time.monotonic() + self._cooldown
            raise
        else:
            self._failed = 0
        finally:  # also when the call was given up, which says nothing about the model
            if probing:
                self._probed = False

    def _refuse_unless_due(self) -> None:
        wait = self._open_until - time.monotonic()
        if wait > 0 or self._probed:
            raise BreakerOpenError("left alone", retry_after=max(1.0, wait))


class BreakerOpenError(ModelUnavailable):
    """The model was not even asked."""


# END SOLUTION
