"""What can happen in the simulated network, set off by a test."""

import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from simulators.akash.cluster import run_id
from simulators.akash.model import SimDeployment, SimLease
from simulators.kit.world import UnknownAction

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_Act = Callable[["AkashWorld", dict[str, Any]], Awaitable[None]]


async def act(world: "AkashWorld", action: str, args: dict[str, Any]) -> dict[str, Any]:
    """Let it happen.

    Raises:
        UnknownAction: nothing like that can happen here.
    """
    if action not in _ACTIONS:
        known = ", ".join(sorted(_ACTIONS))
        raise UnknownAction(f"`akash` knows no action `{action}`; it knows {known}")
    await _ACTIONS[action](world, args)
    world.save()
    return {"done": action}


def _subject(world: "AkashWorld", args: dict[str, Any]) -> SimDeployment:
    """By number, or by the lease key that its name carries; the newest one of it."""
    if "id" in args:
        return world.book.deployments[str(args["id"])]
    body = str(args["key"]).removeprefix("job_")
    of_job = [
        deployment
        for deployment in world.book.deployments.values()
        if f"-{body}-" in deployment.group
    ]
    if not of_job:
        raise UnknownAction(f"there is no deployment with the key `{args['key']}`")
    return of_job[-1]


def _lease(deployment: SimDeployment) -> SimLease:
    if deployment.lease is None or not deployment.lease.live:
        raise UnknownAction(f"deployment {deployment.dseq} has no live lease")
    return deployment.lease


async def _lose_lease(world: "AkashWorld", args: dict[str, Any]) -> None:
    reason = str(args.get("reason", "lease_closed_reason_unspecified"))
    deployment = _subject(world, args)
    _lease(deployment)
    world.provider_closes(deployment, reason)


async def _close(world: "AkashWorld", args: dict[str, Any]) -> None:
    """The account's owner closes a deployment by hand, in the Console's page."""
    await world.close(_subject(world, args))


async def _offline(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.book.providers[_provider(world, args)].online = False


async def _online(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.book.providers[_provider(world, args)].online = True


async def _dies(world: "AkashWorld", args: dict[str, Any]) -> None:
    """Its machines are gone, and nobody is left to close its leases."""
    address = _provider(world, args)
    world.book.providers[address].online = False
    for deployment in world.book.deployments.values():
        lease = deployment.lease
        if lease is not None and lease.live and lease.provider == address:
            await world.cluster.end(deployment, lease)


async def _reclaim(world: "AkashWorld", args: dict[str, Any]) -> None:
    lease = _lease(_subject(world, args))
    lease.state = "reclaiming"
    lease.reclaim_at = int(time.time() + float(args.get("seconds", 3600)))


async def _drain(world: "AkashWorld", args: dict[str, Any]) -> None:
    """The escrow of a deployment runs out, and the provider looks; without one, the wallet."""
    if not args.keys() & {"id", "key"}:
        await _empty_wallet(world, args)
        return
    deployment = _subject(world, args)
    deployment.escrow.funds = Decimal(str(args.get("left", 0)))
    deployment.escrow.withdrawn_at = 0


async def _withdraw(world: "AkashWorld", args: dict[str, Any]) -> None:
    _subject(world, args).escrow.withdrawn_at = 0


async def _empty_wallet(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.book.credits = Decimal(str(args.get("left", 0)))


async def _late_bids(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.trouble.late_bids = float(args["seconds"])


async def _no_bids(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.trouble.no_bids = bool(args.get("on", True))


async def _withdraw_bids(world: "AkashWorld", args: dict[str, Any]) -> None:
    for bid in _subject(world, args).bids:
        if args.get("provider") in (None, bid.provider):
            bid.state = "closed"


async def _refuse_manifest(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.trouble.refuse_manifest = int(args.get("times", 1))


async def _late_create(world: "AkashWorld", args: dict[str, Any]) -> None:
    """The next creation is answered with 504 and takes place only `seconds` later."""
    world.trouble.late_create = float(args["seconds"])


async def _flap(world: "AkashWorld", args: dict[str, Any]) -> None:
    """Providers do not answer the next `times` questions for the status of a lease."""
    world.trouble.dark = int(args.get("times", 1))


async def _underflow(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.trouble.underflow = int(args.get("times", 1))


async def _late_lease(world: "AkashWorld", args: dict[str, Any]) -> None:
    """Providers hear of the next leases only after so many manifests were sent to them."""
    world.trouble.late_lease = int(args.get("times", 1))


async def _account(world: "AkashWorld", args: dict[str, Any]) -> None:
    """The chain refuses to let the account pay, with these words; none: it does again."""
    world.trouble.account = str(args.get("says", ""))


async def _silent_providers(world: "AkashWorld", args: dict[str, Any]) -> None:
    """Providers are listed, and able, and never bid."""
    for provider in world.book.providers.values():
        provider.bids = not args.get("on", True)


async def _upgrade(world: "AkashWorld", args: dict[str, Any]) -> None:
    """The Console is replaced by a newer one; `back`: by an older one."""
    world.settings.extended = not args.get("back", False)


async def _kill_container(world: "AkashWorld", args: dict[str, Any]) -> None:
    """As the kernel does with a container that takes too much memory."""
    deployment = _subject(world, args)
    lease = _lease(deployment)
    view = await world.runs.state(run_id(deployment, lease))
    if view is None:
        raise UnknownAction(f"deployment {deployment.dseq} runs nothing")
    await world.runs.signal(run_id(deployment, lease), "KILL")


async def _refuse_token(world: "AkashWorld", args: dict[str, Any]) -> None:
    """Providers refuse the token with which the Console sends the next `times` manifests."""
    world.trouble.refuse_token = int(args.get("times", 1))


async def _kube(world: "AkashWorld", args: dict[str, Any]) -> None:
    """Something is the matter in the cluster of a lease; `says` is empty where it is over."""
    _lease(_subject(world, args)).kube = str(args.get("says", ""))


async def _provider_clock(world: "AkashWorld", args: dict[str, Any]) -> None:
    world.book.providers[_provider(world, args)].clock_skew = float(args["seconds"])


def _provider(world: "AkashWorld", args: dict[str, Any]) -> str:
    if "provider" in args:
        return str(args["provider"])
    return _lease(_subject(world, args)).provider


_ACTIONS: dict[str, _Act] = {
    "lose_lease": _lose_lease,
    "close": _close,
    "provider_offline": _offline,
    "provider_online": _online,
    "provider_dies": _dies,
    "reclaim": _reclaim,
    "drain_funds": _drain,
    "withdraw": _withdraw,
    "empty_wallet": _empty_wallet,
    "late_bids": _late_bids,
    "no_bids": _no_bids,
    "withdraw_bids": _withdraw_bids,
    "refuse_manifest": _refuse_manifest,
    "late_create": _late_create,
    "flap": _flap,
    "underflow": _underflow,
    "late_lease": _late_lease,
    "account": _account,
    "silent_providers": _silent_providers,
    "upgrade": _upgrade,
    "kill_container": _kill_container,
    "kube": _kube,
    "refuse_token": _refuse_token,
    "provider_clock": _provider_clock,
}
