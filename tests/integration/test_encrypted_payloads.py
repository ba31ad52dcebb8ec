"""Jobs whose payloads in Temporal are encrypted, from the middle of one that began in clear."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from cortex.domain.states import JobState
from cortex.security.keyring import KeyRing
from cortex.temporal.client import connect
from cortex.temporal.codec import ENCRYPTED, data_converter
from cortex.temporal.history import job_history
from tests.integration.conftest import Stage, StageMaker
from tests.support import eventually
from tests.support.sandbox import RUNNER
from workflows.registry import WORKFLOWS

pytestmark = pytest.mark.slow
NULL: dict[str, Any] = {"type": "null", "run_seconds": 4}
KEYS = SecretStr(f"k1:{base64.b64encode(b'7' * 32).decode()}")
RING = KeyRing.from_setting(KEYS)
# What Temporal's own library writes about a local activity: its name, times, the number of tries.
_OF_CORE = "core_local_activity"


async def with_codec(stage: Stage, *, encrypt: bool) -> Stage:
    temporal = stage.settings.temporal.model_copy(update={"encrypt_payloads": encrypt})
    settings = stage.settings.model_copy(update={"temporal": temporal, "encryption_keys": KEYS})
    return replace(stage, settings=settings, client=await connect(temporal, RING))


async def events(stage: Stage, job_id: str) -> list[HistoryEvent]:
    handle = stage.client.get_workflow_handle(job_id)
    return [event async for event in handle.fetch_history_events()]


def payloads_of(message: Any) -> list[Payload]:
    """Every payload anywhere within."""
    if isinstance(message, Payload):
        return [message]
    found: list[Payload] = []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        entry = field.message_type
        if entry.GetOptions().map_entry:
            if entry.fields_by_name["value"].message_type is not None:
                found += [each for item in value.values() for each in payloads_of(item)]
        else:
            many = value if field.is_repeated else [value]
            found += [each for item in many for each in payloads_of(item)]
    return found


def in_clear(history: list[HistoryEvent]) -> list[bytes]:
    """What anybody can read in it beside names, times and search attributes."""
    found: list[bytes] = []
    for event in history:
        kind = event.WhichOneof("attributes") or ""
        if kind.startswith("upsert_workflow_search"):
            continue
        copy = HistoryEvent.FromString(event.SerializeToString())
        told = getattr(copy, kind)
        if "search_attributes" in told.DESCRIPTOR.fields_by_name:
            told.ClearField("search_attributes")
        marker = getattr(told, "marker_name", "")
        if marker == _OF_CORE:
            told.details.pop("data")
        elif marker:
            continue
        found += [
            payload.data
            for payload in payloads_of(copy)
            if payload.metadata.get("encoding") not in (ENCRYPTED, b"binary/null")
        ]
    return found


async def test_a_job_that_began_in_clear_ends_encrypted(
    make_stage: StageMaker,
) -> None:
    clear = await with_codec(await make_stage(null=NULL), encrypt=False)
    async with clear.worker():
        first = await clear.submit(command=["hush-0815"])

        async def running() -> bool:
            return (await clear.job(first)).state is JobState.RUNNING

        await eventually(running, within=30, what="the job runs")
    begun = await events(clear, first)
    assert in_clear(begun)

    sealed = await with_codec(clear, encrypt=True)
    async with sealed.worker():
        assert (await sealed.ended(first)).state is JobState.COMPLETED
        second = await sealed.submit(
            name="hush-name",
            command=["hush-4711"],
            env={"PLAIN": "hush-env"},
        )
        assert (await sealed.ended(second)).state is JobState.COMPLETED

        async def closed() -> bool:
            runs = [sealed.client.get_workflow_handle(each) for each in (first, second)]
            return all([(await run.describe()).close_time is not None for run in runs])

        await eventually(closed, within=30, what="both workflows close")

    whole = await events(sealed, first)
    assert len(whole) > len(begun)
    assert in_clear(whole[: len(begun)]) == in_clear(begun)
    history = await events(sealed, second)
    assert in_clear(history) == []
    raw = b"".join(event.SerializeToString() for event in history)
    assert b"hush" not in raw
    assert len([p for event in history for p in payloads_of(event)]) > 10

    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter(RING, encrypt=True),
        workflow_runner=RUNNER,
    )
    for job_id, replayed in ((first, whole), (second, history)):
        await replayer.replay_workflow(WorkflowHistory(job_id, replayed))
    # The explorer reads it, also in a process that does not encrypt.
    seen = await job_history(clear.client, second)
    assert any(ran.lease_key == f"{second}-1" for ran in seen.ran)
