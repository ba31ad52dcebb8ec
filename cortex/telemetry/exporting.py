"""The part of tracing that needs OpenTelemetry; loaded only where a collector is named."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from temporalio.contrib.opentelemetry import TracingInterceptor


def interceptor(
    endpoint: str | None, service: str, exporter: SpanExporter | None
) -> TracingInterceptor:
    """Records workflows and activities, and sends the spans to `exporter` or the endpoint."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    target = exporter or OTLPSpanExporter(endpoint=endpoint)
    provider.add_span_processor(BatchSpanProcessor(target, schedule_delay_millis=1000))
    return TracingInterceptor(provider.get_tracer("cortex"))
