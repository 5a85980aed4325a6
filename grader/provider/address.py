"""Where a provider process is controlled, and how it is asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATIENCE_S = 30.0


class ProviderError(Exception):
    """The provider's control port did not answer, or not well: the grader's trouble, never a learner's."""


@dataclass(frozen=True)
class ProviderAddress:
    """Where a provider process is controlled; good for threads, forks and pickles, as no connection is kept."""

    port: int
    token: str
    log: Path | None = None
    host: str = "127.0.0.1"

    def ask(self, verb: str, body: Mapping[str, Any], *, timeout: float = 0.0) -> Any:  # noqa: ANN401
        """Do one verb and give its answer; ``timeout`` in seconds is what the verb itself may wait."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout + _PATIENCE_S)
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        try:
            with contextlib.closing(connection):
                connection.request("POST", f"/{verb}", json.dumps(body), headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ProviderError(f"the provider did not answer {verb!r}: {error!r}{self._last_words()}") from error
        if response.status != 200:
            raise ProviderError(f"the provider refused {verb!r}: {answer['error']}")
        return answer

    def page_url(self, key: str) -> str:
        """Give the address of the page about a namespace."""
        return f"http://{self.host}:{self.port}/?{urllib.parse.urlencode({'token': self.token, 'namespace': key})}"

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines() if self.log else []
        except OSError:
            lines = []
        return "".join(f"\n{line}" for line in lines[-3:])
