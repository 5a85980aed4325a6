"""Traces of the finished service, as a collector receives them."""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from grader import expect
from grader.messages import new_message
from grader.submission import Submission
from grader.tasks import ROUTE, accepted, settled
from grader.workshop import start_workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from grader import Bench

SOLUTION = Path(__file__).parents[1] / "solutions" / "service"


class Collector:
    """Keeps the spans that are sent to it (OTLP over HTTP)."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.news = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Receiver, self))
        self.settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def take(self, body: bytes) -> None:
        with self.news:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.news.notify_all()

    def trace(self, trace_id: str, *names: str) -> dict[str, Span]:
        """Return the spans of a trace by name, once those named are there."""
        with self.news:
            assert self.news.wait_for(lambda: set(names) <= set(self._of(trace_id)), 60), [s.name for s in self.spans]
            return self._of(trace_id)

    def _of(self, trace_id: str) -> dict[str, Span]:
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}


class Receiver(BaseHTTPRequestHandler):
    def __init__(self, collector: Collector, *args: Any) -> None:
        self.collector = collector
        super().__init__(*args)

    def do_POST(self) -> None:
        self.collector.take(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join()
        collector.server.server_close()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Bench]:
    with start_workshop(tmp_path, seed=6) as workshop, workshop.bench(Submission.at(SOLUTION), "tracing") as bench:
        yield bench


def attributes(span: Span) -> dict[str, object]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def test_a_trace_shows_the_call_of_the_model(services: Bench) -> None:
    with collecting() as collector:
        api = services.start(users=1, **collector.settings)
        trace, message = secrets.token_hex(16), new_message()
        answer = expect(
            api.new_caller().post(
                "/chat?password=SECRET",
                json={"message": message},
                headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"},
            )
        ).status(200)
        spans = collector.trace(trace, "POST /chat", "chat lab-large")
        model = spans["chat lab-large"]
        assert attributes(model)["gen_ai.usage.total_tokens"] == answer.exchange.json["tokens_used"]
        assert model.parent_span_id in {span.span_id for span in spans.values()}
        told = b"".join(span.SerializeToString() for span in spans.values())
        assert b"SECRET" not in told
        assert message.encode() not in told
        assert trace in api.service.log_path.read_text()


def test_a_trace_goes_on_in_the_worker(services: Bench) -> None:
    with collecting() as collector:
        api = services.start(users=1, **collector.settings)
        worker = services.worker(api)
        trace = secrets.token_hex(16)
        caller = api.new_caller()
        body = {"message": new_message()}
        task = accepted(caller.post(ROUTE, json=body, headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}))
        settled(caller, task, worker=worker)
        collector.trace(trace, "POST /chat-async", "answer", "chat lab-large")


def test_without_a_collector_nothing_is_sent_or_said(services: Bench) -> None:
    api = services.start(users=1)
    expect(api.new_caller().chat()).status(200)
    records = [json.loads(line) for line in api.service.log_path.read_text().splitlines()]
    assert records
    assert not any("trace_id" in record for record in records)
