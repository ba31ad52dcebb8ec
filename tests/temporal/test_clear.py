"""What the explorer reads of Temporal, where it is encrypted."""

import orjson
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from cortex.temporal.clear import clear_event
from cortex.temporal.codec import data_converter
from cortex.temporal.describe import root_message
from tests.temporal.test_codec import ring

SEALS = data_converter(ring("a"), encrypt=True)
READS = data_converter(ring("b", "a"), encrypt=False)
OTHER = data_converter(ring("c"), encrypt=False)


async def failed(converter: DataConverter) -> HistoryEvent:
    event = HistoryEvent(event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
    error = ApplicationError("outer", type="Told")
    error.__cause__ = ApplicationError("the root", type="Told")
    failure = event.activity_task_failed_event_attributes.failure
    await converter.encode_failure(error, failure)
    return event


def message(event: HistoryEvent) -> str:
    return root_message(event.activity_task_failed_event_attributes.failure)


async def test_messages_of_failures_and_their_causes() -> None:
    event = await failed(SEALS)
    assert message(event) == "Encoded failure"
    await clear_event(READS, event)
    assert message(event) == "the root"
    assert event.activity_task_failed_event_attributes.failure.message == "outer"


async def test_what_is_in_clear_stays() -> None:
    for converter in (READS, SEALS, data_converter(ring(), encrypt=False)):
        event = await failed(READS)
        await clear_event(converter, event)
        assert message(event) == "the root"


async def test_without_its_key_it_stays_as_it_is() -> None:
    event = await failed(SEALS)
    before = event.SerializeToString()
    await clear_event(OTHER, event)
    assert event.SerializeToString() == before


async def test_inputs_and_markers() -> None:
    payloads = await SEALS.encode([{"lease_key": "k-1"}])
    scheduled, marker = HistoryEvent(), HistoryEvent()
    scheduled.activity_task_scheduled_event_attributes.input.payloads.extend(payloads)
    told = marker.marker_recorded_event_attributes
    told.details["result"].CopyFrom(Payloads(payloads=payloads))
    told.details["data"].CopyFrom(Payloads(payloads=[Payload(data=b"{}")]))
    for event in (scheduled, marker):
        await clear_event(READS, event)
    (first,) = scheduled.activity_task_scheduled_event_attributes.input.payloads
    (second,) = told.details["result"].payloads
    assert [orjson.loads(each.data) for each in (first, second)] == [{"lease_key": "k-1"}] * 2
    assert told.details["data"].payloads[0].data == b"{}"


async def test_events_without_any() -> None:
    event = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
    await clear_event(READS, event)
    event.workflow_task_started_event_attributes.scheduled_event_id = 3
    await clear_event(READS, event)
    assert event.workflow_task_started_event_attributes.scheduled_event_id == 3
