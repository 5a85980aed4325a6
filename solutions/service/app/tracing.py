"""Traces: which step of a request took how long, for a collector (section 6). An extra: no check asks for it.

Install it with `pip install ".[tracing]"` and name a collector in OTEL_EXPORTER_OTLP_ENDPOINT. Without one, spans are
made by OpenTelemetry's API alone: they cost next to nothing and go nowhere. FastAPI makes the span of each request by
itself; here are those of the model and the worker.
"""

from __future__ import annotations

import os  # SOLUTION 6
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog  # SOLUTION 6
from opentelemetry import propagate, trace  # SOLUTION 6
from structlog.contextvars import bound_contextvars, get_contextvars  # SOLUTION 6

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping
    from typing import Any

# BEGIN SOLUTION 6: Name the spans' maker once, and where the id of a request stands in a message to the worker.
TRACER = trace.get_tracer("app")
REQUEST_ID = "x-request-id"
# END SOLUTION


def configure() -> None:
    """Send spans to the collector that the environment names, if any (opentelemetry.io, SDK environment variables)."""
    # BEGIN SOLUTION 6: Send spans in batches, in the background; the query of an address may hold a password.
    if not any(os.environ.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", "TRACES_")):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # the extra
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        structlog.get_logger().warning("no traces: a collector is named, but `tracing` of pyproject.toml is missing")
        return

    class WithoutQueries(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ANN401, ARG002
            if "url.query" in (span.attributes or {}):
                span.set_attribute("url.query", "")

    provider = TracerProvider()
    provider.add_span_processor(WithoutQueries())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    # END SOLUTION


# BEGIN SOLUTION 6: Let a line of the log say to which trace it belongs.
def add_trace_id(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the id of the trace under way to an event."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
    return event


# END SOLUTION


@contextmanager
def asking(model: str) -> Iterator[Any]:
    """Make a span of a call of the model; no prompt is in it, and no error's text, which may quote one."""
    # BEGIN SOLUTION 6: Name the span as OpenTelemetry's conventions for generative AI do, and end it in any case.
    #: yield None
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    span = TRACER.start_span(f"chat {model}", kind=trace.SpanKind.CLIENT, attributes=attributes)
    try:
        yield span  # not the current one: a stream's generator may be closed elsewhere
    except Exception as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        span.end()
    # END SOLUTION


def count_tokens(span: Any, tokens: int) -> None:  # noqa: ANN401  # OpenTelemetry is not there from the beginning
    """Note on the span of a call what it cost."""
    # BEGIN SOLUTION 6: Note the tokens.
    span.set_attribute("gen_ai.usage.total_tokens", tokens)
    # END SOLUTION


def luggage() -> dict[str, str]:
    """Return what a message to another process carries so that its lines and spans join ours (W3C Trace Context)."""
    # BEGIN SOLUTION 6: Pack the trace and the request's id.
    #: return {}
    packed = {REQUEST_ID: str(get_contextvars().get("request_id", ""))}
    propagate.inject(packed)
    return packed
    # END SOLUTION


@contextmanager
def unpacked(luggage: Mapping[str, str], name: str) -> Iterator[None]:
    """Go on, in a worker, under the trace and the request id that a message carries."""
    # BEGIN SOLUTION 6: Unpack both.
    #: yield
    context = propagate.extract(luggage)
    with (
        bound_contextvars(request_id=luggage.get(REQUEST_ID, "")),
        TRACER.start_as_current_span(name, context, trace.SpanKind.CONSUMER),
    ):
        yield
    # END SOLUTION
