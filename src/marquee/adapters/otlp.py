"""Traces, told to a collector by OTLP over HTTP. Only who traces imports this."""

import logging
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..tracing import MOST, Answered
from ..troubles import Trouble

SEND_SECONDS = 2.0
"""Within which the collector takes what it is told, or it is dropped."""

NAME = "traceparent"
propagator = TraceContextTextMapPropagator()


log = logging.getLogger(__name__)
logging.getLogger(trace_exporter.__name__).setLevel(logging.CRITICAL)  # it would tell each time


class Exporter(trace_exporter.OTLPSpanExporter):
    """What the collector does not take in time is dropped; told once, as other troubles are."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout=SEND_SECONDS)
        self._collector = urlsplit(url).netloc.rpartition("@")[2]
        self._trouble = Trouble(log, "traces are dropped")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self._trouble.over()
        else:
            self._trouble.tell(f"the collector at {self._collector} does not take them")
        return result


class OtlpTracer:
    """``tracing.Tracer``. ``share``: of the traces that begin here, so many are kept; of those that
    began elsewhere, who began them has decided."""

    def __init__(self, url: str, share: float, service: str, version: str) -> None:
        about = {
            "service.namespace": "marquee",
            "service.name": service,
            "service.version": version,
            "service.instance.id": secrets.token_hex(8),
        }
        self._provider = TracerProvider(
            resource=Resource.create(about), sampler=ParentBased(TraceIdRatioBased(share))
        )
        self._provider.add_span_processor(BatchSpanProcessor(Exporter(url)))
        self._tracer = self._provider.get_tracer("marquee", version)

    def here(self) -> str:
        return place_of(trace.get_current_span())

    def trace_id(self) -> str:
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.trace_flags.sampled else ""

    @contextmanager
    def request(self, method: str, parent: str) -> Iterator[Answered]:
        about = {"http.request.method": method}
        with self._span(method, behind(parent), SpanKind.SERVER, about) as span:

            def answered(route: str, status: int) -> None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(StatusCode.ERROR)

            yield answered

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        if not trace.get_current_span().is_recording():
            yield
            return
        with self._span(name, None, SpanKind.CLIENT, {}):
            yield

    @contextmanager
    def steps(self, name: str, places: Collection[str]) -> Iterator[Mapping[str, str]]:
        spans = {
            place: self._tracer.start_span(name, behind(place), SpanKind.CONSUMER)
            for place in islice(dict.fromkeys(places), MOST)
        }
        try:
            yield {place: place_of(span) for place, span in spans.items()}
        except BaseException as error:
            for span in spans.values():
                fail(span, error)
            raise
        finally:
            for span in spans.values():
                span.end()

    def close(self) -> None:
        self._provider.shutdown()

    @contextmanager
    def _span(
        self, name: str, context: Context | None, kind: SpanKind, about: dict[str, str]
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            context,
            kind,
            about,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                fail(span, error)
                raise


def fail(span: Span, error: BaseException) -> None:
    """What an error says may name a user: its kind is enough."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def behind(place: str) -> Context:
    """The context of a span whose parent is there; where that is no place, of a new trace."""
    return propagator.extract({NAME: place}, Context())


def place_of(span: Span) -> str:
    """Where a span is; "" where it is not kept."""
    if not span.get_span_context().trace_flags.sampled:
        return ""
    carrier: dict[str, str] = {}
    propagator.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(NAME, "")
