"""One id for each request: in its answer, in every line that is logged about it, in its error bodies (section 6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")


def current() -> str:
    """Return the id of the request that is being answered."""
    # TODO (lab 6): Look into the context, which every task and thread of a request inherits.
    return ""


def accepted_or_new(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that the client or the proxy gave, if there is one and it is harmless to log, else a new one."""
    # TODO (lab 6): Take over what consists of letters, digits, dots, underscores and hyphens only, 64 at most.
    return ""
