"""Client: what a notebook says to a running service, in one line each."""

from __future__ import annotations

import contextlib
import json as json_module
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import httpx

from grader.notebook.answer import Answer, Answers
from grader.playground import KEYS

TIMEOUT = 60.0
"""Seconds until a request is given up."""

Told = str | tuple[str, str] | tuple[str, str, object]
"""A request of many: a path to GET, (method, path), or (method, path, JSON)."""


class Client:
    """Talks to one service; every request returns an `Answer`, also where nobody answers.

    Each takes `key="user"` ("admin", "guest", a key of your own, None for no key), or `token="…"`, and what httpx
    takes: `json`, `data`, `headers`, `params`, `content`, `timeout`.
    """

    def __init__(self, name: str, address: Callable[[], str], key: str | None = "user") -> None:
        self.name = name
        self._address = address
        self._key = key

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end; it changes with a restart."""
        return self._address()

    @cached_property
    def _http(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx.Client(verify=False, trust_env=False, limits=limits, timeout=TIMEOUT)  # noqa: S501 - no TLS here

    def get(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - passed on to httpx
        """GET a path."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - as above
        """POST to a path: `json={…}` as a rule, `data={…}` for a form."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - as above
        """PUT to a path."""
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - as above
        """DELETE a path."""
        return self.request("DELETE", path, **options)

    def request(self, method: str, path: str, **options: Any) -> Answer:  # noqa: ANN401 - as above
        """Send one request and wait for all of the answer."""
        request, timeout = self._built(method, path, options)
        return _sent(request, lambda: self._http.send(request), path, timeout)

    def many(self, requests: Sequence[Told], *, at_once: int = 20, **options: Any) -> Answers:  # noqa: ANN401
        """Send many requests, so many at once; the options are those of each.

        `service.many([("POST", "/chat", {"message": "Hi"})] * 30, at_once=30)`
        """
        told = [("GET", one) if isinstance(one, str) else one for one in requests]
        started = time.perf_counter()
        with ThreadPoolExecutor(max(1, at_once)) as threads:
            jobs = [threads.submit(self.request, one[0], one[1], **_with_json(options, one[2:])) for one in told]
            answers = [job.result() for job in jobs]
        return Answers(answers, time.perf_counter() - started)

    def stream(self, path: str, **options: Any) -> Iterator[tuple[float, str, str]]:  # noqa: ANN401 - as above
        """POST and give each server-sent event as it comes: (seconds since the request, event, data).

        An answer that is no stream comes as one event named for its status; a connection that breaks, as `broken`.
        """
        options.setdefault("headers", {})
        options["headers"] = {"Accept": "text/event-stream", **options["headers"]}
        request, timeout = self._built(options.pop("method", "POST"), path, options)
        started = time.perf_counter()
        request.extensions["timeout"] = _timeouts(timeout)
        try:
            with contextlib.closing(self._http.send(request, stream=True)) as response:
                if "event-stream" not in response.headers.get("content-type", ""):
                    yield time.perf_counter() - started, str(response.status_code), response.read().decode()
                    return
                for event, data in _events(response.iter_lines()):
                    yield time.perf_counter() - started, event, data
        except httpx.HTTPError as error:
            yield time.perf_counter() - started, "broken", _reason(error)

    def _built(self, method: str, path: str, options: Mapping[str, Any]) -> tuple[httpx.Request, float]:
        told = dict(options)
        who = _credentials(told.pop("key", self._key), told.pop("token", None))
        timeout = float(told.pop("timeout", TIMEOUT))
        headers = {**who, **(told.pop("headers", None) or {})}
        request = self._http.build_request(method, self.url + path, headers=headers, timeout=timeout, **told)
        return request, timeout

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _credentials(key: str | None, token: str | None) -> dict[str, str]:
    if token:
        return {"Authorization": f"Bearer {token}"}
    return {"X-API-Key": KEYS.get(key, key)} if key else {}


def _with_json(options: Mapping[str, Any], told: Sequence[object]) -> dict[str, Any]:
    return {**options, **({"json": told[0]} if told else {})}


def _timeouts(seconds: float) -> dict[str, float | None]:
    return dict.fromkeys(("connect", "read", "write", "pool"), seconds)


def _sent(request: httpx.Request, send: Callable[[], httpx.Response], path: str, timeout: float) -> Answer:
    body = request.content.decode("utf-8", "replace")
    sent = {_spelled(name): value for name, value in request.headers.items()}
    answer = Answer(request.method, path, str(request.url), sent, _tidy(body))
    started = time.perf_counter()
    try:
        response = send()
    except httpx.TimeoutException:
        answer.error = f"no answer within {timeout:g} s"
    except httpx.HTTPError as error:
        answer.error = _reason(error)
    else:
        answer.status, answer.text = response.status_code, response.text
        answer.headers = dict(response.headers)
    answer.seconds = time.perf_counter() - started
    return answer


def _spelled(name: str) -> str:
    return {"x-api-key": "X-API-Key"}.get(name, name.title())


def _tidy(body: str) -> str:
    try:
        return json_module.dumps(json_module.loads(body), ensure_ascii=False)
    except ValueError:
        return body


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "nobody listens there: the service is not running"
    return "the connection was closed before the answer was whole"


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Read server-sent events (WHATWG HTML, section 9.2): event and data, comments left out."""
    event, data = "", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif not line and (event or data):
            yield event or "message", "\n".join(data)
            event, data = "", []
