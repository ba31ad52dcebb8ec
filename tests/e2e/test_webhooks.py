"""A webhook of a whole stack, whose receiver, worker, API and database connections come and go."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from tests.e2e.support import shell
from tests.support import eventually
from tests.support.stack import Stack, running_stack, short_folder
from tests.webhooks.support import Receiver, receiving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_SETTINGS = {
    "CORTEX_WEBHOOKS__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
    "CORTEX_WEBHOOKS__TIMEOUT": "3s",
    "CORTEX_WEBHOOKS__FIRST_WAIT": "100ms",
    "CORTEX_WEBHOOKS__LONGEST_WAIT": "2s",
    "CORTEX_JOBS__HEARTBEAT_TIMEOUT": "8s",
    "CORTEX_MONITOR__HEARTBEAT_TIMEOUT": "8s",
}


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    with short_folder("ctx-hook-") as folder:
        async with running_stack(folder, _SETTINGS) as running:
            yield running


async def test_nothing_is_lost_and_nothing_made_up(stack: Stack) -> None:
    """SIGKILL of worker and API and cut connections, while the receiver is there and while not."""
    async with receiving() as receiver:
        port = int(receiver.url.rsplit(":", 1)[1].split("/")[0])
        made = await stack.client.create_webhook(receiver.url)
        receiver.secret = made.secret
        await _jobs(stack, 6)
        await _kill(stack, "worker")
        await _cut(stack)
        await _jobs(stack, 6)
        await _arrived(stack, [receiver])
    # Nobody is there: what happens now waits, whoever is killed.
    await _jobs(stack, 8)
    for name in ("api", "worker"):
        await _kill(stack, name)
    await _cut(stack)
    await _all_ended(stack)

    async def tried_in_vain() -> bool:
        shown = await stack.client.webhook(made.info.id)
        return shown.failing_since is not None and shown.waiting > 20

    await eventually(tried_in_vain, within=90, what="attempts in vain")
    async with receiving(port) as back:
        back.secret = made.secret
        await eventually(lambda: _begun(back), within=90, what="the first of what was missed")
        await _kill(stack, "worker")
        await _arrived(stack, [receiver, back])
    await _check(stack, [receiver, back])
    shown = await stack.client.webhook(made.info.id)
    assert (shown.enabled, shown.waiting, shown.dead) == (True, 0, 0)
    assert shown.failing_since is None


async def _begun(receiver: Receiver) -> bool:
    return len(receiver.tried) > 5


async def _jobs(stack: Stack, count: int) -> None:
    await asyncio.gather(
        *(stack.client.submit(shell(f"echo {number}; sleep 0.2")) for number in range(count))
    )


async def _kill(stack: Stack, name: str) -> None:
    former = stack.pid(name)
    stack.kill(name)
    await stack.back(name, former)


async def _cut(stack: Stack) -> None:
    """End the workers' connections, with what is under way in them."""
    cut = await stack.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'cortex-worker'"
    )
    assert cut


async def _all_ended(stack: Stack) -> None:
    async def check() -> bool:
        rows = await stack.rows("SELECT DISTINCT state FROM jobs")
        return {row["state"] for row in rows} == {"completed"}

    await eventually(check, within=120, what="the end of all jobs")


async def _events(stack: Stack) -> list[dict[str, object]]:
    """All events of jobs: there was none before the webhook."""
    return await stack.rows(
        "SELECT id, job_id FROM events WHERE job_id IS NOT NULL ORDER BY tx, seq"
    )


async def _arrived(stack: Stack, receivers: list[Receiver]) -> None:
    """Wait until all jobs have ended and every event was received."""
    await _all_ended(stack)

    async def check() -> bool:
        got = {each.envelope["id"] for receiver in receivers for each in receiver.tried}
        return {str(event["id"]) for event in await _events(stack)} <= got

    await eventually(check, within=120, what="every event")


async def _check(stack: Stack, receivers: list[Receiver]) -> None:
    events = await _events(stack)
    lanes = {str(event["id"]): str(event["job_id"]) for event in events}
    others = {row["id"] for row in await stack.rows("SELECT id FROM events WHERE job_id IS NULL")}
    expected, first, ids = defaultdict(list), defaultdict(list), defaultdict(set)
    for event in events:
        expected[event["job_id"]].append(event["id"])
    for receiver in receivers:
        assert not receiver.forged
        for got in receiver.tried:
            event_id = got.envelope["id"]
            if event_id in others:
                continue
            assert event_id in lanes, "an event that is in no book"
            if event_id not in ids:
                first[lanes[event_id]].append(event_id)
            ids[event_id].add(got.id)
    assert first == expected
    assert all(len(same) == 1 for same in ids.values()), "a repeat has the same id"
    assert len({next(iter(same)) for same in ids.values()}) == len(events)
