"""A step that is cancelled while the Console works on its deployment."""

import asyncio

import pytest

from providers.akash import AkashProvider
from providers.conformance import eventually
from providers.errors import Unavailable
from tests.providers.akash.conftest import Net, cancelled, spec


async def cancelled_in_flight(net: Net, akash: AkashProvider, lease: str) -> None:
    """It has asked for a deployment, and does not know of one yet."""
    step = asyncio.create_task(akash.prepare(spec(), lease))

    async def asked() -> bool:
        return await net.calls("POST", "/v1/deployments") == 1

    await eventually(asked, what="the creation")
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step


async def test_what_comes_late_is_found_and_closed(net: Net, lease: str) -> None:
    """The settlement looks right after: it must not take that for nothing."""
    akash = await net.provider(search_window="30s")
    await net.act("late_create", seconds=0.6)
    await cancelled_in_flight(net, akash, lease)
    with pytest.raises(Unavailable, match="may still be made"):
        await akash.find(lease)
    # Another process cannot know: for it there is the reconciliation, by the mark.
    assert await (await net.provider()).find(lease) is None

    async def there() -> bool:
        return await net.alive() == [lease]

    await eventually(there, what="the late deployment")
    assert [ref.key for ref in await (await net.provider()).owned()] == [lease]
    at_network = await akash.find(lease)
    assert at_network is not None
    await cancelled(akash, at_network.ref)
    assert await net.alive() == []


async def test_one_that_never_comes_holds_nothing_up_for_long(net: Net, lease: str) -> None:
    akash = await net.provider(search_window="0.3s")
    await net.act("late_create", seconds=2)
    await cancelled_in_flight(net, akash, lease)

    async def nothing() -> bool:
        try:
            return await akash.find(lease) is None
        except Unavailable:
            return False

    await eventually(nothing, what="the end of the window")
