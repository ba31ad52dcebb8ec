"""One trace leads from the start of a job's workflow to each of its steps."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cortex.settings import TelemetrySettings
from cortex.telemetry.tracing import configure_tracing
from tests.integration.conftest import StageMaker
from tests.support import eventually


class TestTracing:
    async def test_a_job_is_one_trace(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null={"type": "null"})
        exporter = InMemorySpanExporter()
        stage.interceptors = configure_tracing(TelemetrySettings(), "test", exporter=exporter)
        async with stage.worker():
            job_id = await stage.submit()
            await stage.ended(job_id)

            async def told() -> bool:
                return any(s.name == "RunActivity:settle" for s in exporter.get_finished_spans())

            await eventually(told, what="the span of settle")
        spans = exporter.get_finished_spans()
        (start,) = [span for span in spans if span.name == "StartWorkflow:Job"]
        trace = {span.name for span in spans if span.context.trace_id == start.context.trace_id}
        assert trace >= {f"RunActivity:{step}" for step in ("acquire", "settle")}

    def test_without_a_collector_nothing_is_recorded(self) -> None:
        assert configure_tracing(TelemetrySettings(), "test") == ()
