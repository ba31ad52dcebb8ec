"""Traces by OpenTelemetry: from the start of a job's workflow through each of its activities.

Nothing is recorded unless `telemetry.otlp_endpoint` names a collector.
"""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from temporalio.client import Interceptor
from temporalio.contrib.opentelemetry import TracingInterceptor

from cortex.settings import TelemetrySettings


def configure_tracing(
    settings: TelemetrySettings, service: str, *, exporter: SpanExporter | None = None
) -> Sequence[Interceptor]:
    """The interceptors for this process's Temporal client; workers inherit them.

    Args:
        settings: `otlp_endpoint` is the collector's URL for traces (OTLP over HTTP).
        service: What this process is called in traces, such as `cortex-worker`.
        exporter: Instead of the one that the endpoint names.
    """
    if exporter is None:
        if settings.otlp_endpoint is None:
            return ()
        exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint)
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    return (TracingInterceptor(provider.get_tracer("cortex")),)
