"""How the daemon and its network do."""

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.money import format_amount
from providers.base import NetworkStatus
from providers.errors import ProviderError
from providers.golem.allocations import PAYMENT, Allocations
from providers.golem.config import GolemConfig
from providers.golem.daemon import Daemon
from providers.golem.wire import Identity, NetStatus, Version


async def look(daemon: Daemon, allocations: Allocations, config: GolemConfig) -> NetworkStatus:
    """Identity, release, peers, the payment driver's troubles, what is set aside."""
    asked = time.monotonic()
    try:
        me = await daemon.get(Identity, "/me")
        latency = timedelta(seconds=time.monotonic() - asked)
        version = (await daemon.get(Version, "/version/get")).current.version
        net = await daemon.get(NetStatus, "/net-api/v2/net/status")
        troubles = (await daemon.read(f"{PAYMENT}/payments/status")).body
        held = await allocations.all()
    except ProviderError as error:
        return NetworkStatus(reachable=False, message=str(error))
    left = sum((allocation.remaining_amount for allocation in held), Decimal(0))
    return NetworkStatus(
        reachable=True,
        latency=latency,
        version=version,
        message="; ".join(_messages(net, troubles)),
        capacity={
            "identity": me.identity,
            "platform": config.payment_platform,
            "peers": str(net.sessions),
            "allocations": str(len(held)),
            "set aside": f"{format_amount(left)} {config.currency}",
        },
    )


def _messages(net: NetStatus, troubles: Any) -> list[str]:
    messages: list[str] = []
    if net.sessions == 0:
        messages.append("the daemon has no connection to a relay or a peer")
    for trouble in troubles if isinstance(troubles, list) else []:
        kind = trouble.get("kind") or trouble.get("type") if isinstance(trouble, dict) else trouble
        if isinstance(kind, dict):
            kind = next(iter(kind), "unknown")
        messages.append(f"the payment driver reports {kind or 'a problem'}")
    return messages
