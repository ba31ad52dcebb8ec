"""Traces by OpenTelemetry: from the start of a job's workflow through each of its activities.

Nothing is recorded, and OpenTelemetry is not even loaded, unless `telemetry.otlp_endpoint` names a
collector: it would cost each process 15 MiB.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from temporalio.client import Interceptor

from cortex.settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter


def configure_tracing(
    settings: TelemetrySettings, service: str, *, exporter: "SpanExporter | None" = None
) -> Sequence[Interceptor]:
    """The interceptors for this process's Temporal client; its workers inherit them.

    Args:
        settings: `otlp_endpoint` is the collector's URL for traces (OTLP over HTTP).
        service: What this process is called in traces, such as `cortex-worker`.
        exporter: Instead of the one that the endpoint names.
    """
    if exporter is None and settings.otlp_endpoint is None:
        return ()
    exporting = import_module("cortex.telemetry.exporting")
    interceptor: Interceptor = exporting.interceptor(settings.otlp_endpoint, service, exporter)
    return (interceptor,)
