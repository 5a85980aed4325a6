"""The grader's side of the conversation: callers who say things to the service."""

from __future__ import annotations

import copy
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grader import wire
from grader.exchange import Exchange, Pending, Prepared, Stream
from grader.messages import agent, new_message


@dataclass(frozen=True)
class User:
    """A user that was seeded into the service's database."""

    username: str
    password: str = field(repr=False)
    role: str


class Caller:
    """Somebody who calls the service: by API key, by token, or by nothing at all."""

    def __init__(
        self,
        address: wire.Address,
        headers: Mapping[str, str] | None = None,
        *,
        service: str = "",
        name: str = "",
        disguise: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.source = ""
        self.headers = dict(headers or {})
        self.service = service
        self.name = name
        self.disguise = disguise or {}

    def at(self, address: wire.Address, *, source: str = "") -> Caller:
        """Return the same caller, talking to another replica, perhaps from another address of this machine."""
        twin = copy.copy(self)
        twin.address, twin.source = address, source
        return twin

    def prepare(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        data: Mapping[str, str] | None = None,
        content: bytes | None = None,
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        chunked: bool = False,
    ) -> Prepared:
        """Build a request without sending it. ``content`` is sent as JSON unless a header says otherwise."""
        body, kind = _body(json, data, content)
        everything: dict[str, str | bytes] = {
            "Host": f"{self.address[0]}:{self.address[1]}",
            "User-Agent": agent(),
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        if kind:
            everything["Content-Type"] = kind
        everything |= {**self.headers, **(headers or {})}
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        wired = tuple((name.encode(), v if isinstance(v, bytes) else v.encode()) for name, v in everything.items())
        request = wire.Request(method, path + query, wired, body, chunked)
        return Prepared(request, self.address, self.service, self.disguise, self.source)

    def begin(self, method: str, path: str, *, timeout: float = wire.TIMEOUT, **options: Any) -> Pending:  # noqa: ANN401
        """Send a request and return at once; options as for ``prepare``."""
        return self.prepare(method, path, **options).begin(timeout=timeout)

    def request(self, method: str, path: str, *, timeout: float = wire.TIMEOUT, **options: Any) -> Exchange:  # noqa: ANN401
        """Send a request and wait for the answer; options as for ``prepare``."""
        return self.begin(method, path, timeout=timeout, **options).result()

    def get(self, path: str, **options: Any) -> Exchange:  # noqa: ANN401
        """GET a path."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Exchange:  # noqa: ANN401
        """POST to a path."""
        return self.request("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Exchange:  # noqa: ANN401
        """DELETE a path."""
        return self.request("DELETE", path, **options)

    def chat(self, message: str | None = None, *, timeout: float = wire.TIMEOUT, **fields: object) -> Exchange:
        """POST /chat with a message (a new one when none is given) and further body fields."""
        return self.prepare_chat(message, **fields).begin(timeout=timeout).result()

    def prepare_chat(self, message: str | None = None, **fields: object) -> Prepared:
        """Build a POST /chat."""
        return self.prepare("POST", "/chat", json={"message": new_message() if message is None else message, **fields})

    def begin_chat(self, message: str | None = None, *, timeout: float = wire.TIMEOUT, **fields: object) -> Pending:
        """POST /chat and return at once."""
        return self.prepare_chat(message, **fields).begin(timeout=timeout)

    def stream(self, message: str | None = None, *, timeout: float = wire.TIMEOUT, **fields: object) -> Stream:
        """POST /chat/stream; read the events from what is returned."""
        body = {"message": new_message() if message is None else message, **fields}
        return Stream(self.begin("POST", "/chat/stream", json=body, timeout=timeout))

    def summarize(self, text: str | None = None, **fields: object) -> Exchange:
        """POST /summarize."""
        return self.post("/summarize", json={"text": new_message() if text is None else text, **fields})

    def batch(self, items: Sequence[object], *, timeout: float = wire.TIMEOUT) -> Exchange:
        """POST /batch-process."""
        return self.post("/batch-process", json={"items": list(items)}, timeout=timeout)

    def __repr__(self) -> str:
        return f"Caller({self.name or 'anonymous'})"


def _body(payload: object, data: Mapping[str, str] | None, content: bytes | None) -> tuple[bytes, str]:
    if content is not None:
        return content, "application/json"
    if data is not None:
        return urllib.parse.urlencode(data).encode(), "application/x-www-form-urlencoded"
    if payload is not None:
        return json.dumps(payload).encode(), "application/json"
    return b"", ""
