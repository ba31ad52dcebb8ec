"""What only the newer Console has: names, limits, seals, patches, closes in the background.

As recordings/console-changes.json tells of its API, and for what stands in no API file, its source.
"""

import asyncio
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from simulators.akash import answers, escrow, sdl, secrets
from simulators.akash.errors import Refusal
from simulators.akash.model import Creation, SimActivity, SimDeployment

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_LONGEST_NAME = 256
_MOST_HOURS = 48
_LARGEST_SDL = 524_288
LARGEST_PAGE = 100


def creation(world: "AkashWorld", wanted: dict[str, Any]) -> Creation:
    """What a creation asks for. `deposit` is ignored: the Console funds deployments itself.

    Raises:
        Refusal: as the Console words it.
    """
    text = str(wanted["sdl"])
    if len(text) > _LARGEST_SDL:
        raise invalid("sdl: String must contain at most 524288 character(s)")
    name, hours = wanted.get("name"), wanted.get("runtimeLimitHours")
    if name is not None and not 1 <= len(str(name).strip()) <= _LONGEST_NAME:
        raise invalid("name: String must contain 1 to 256 character(s)")
    if hours is not None and (type(hours) is not int or not 1 <= hours <= _MOST_HOURS):
        raise invalid("runtimeLimitHours: Number must be 1 to 48")
    resolved, stored = secrets.resolve(world, text, wanted.get("sealedSecrets"))
    parsed = sdl.parsed(resolved)
    return Creation(
        parsed,
        world.settings.min_deposit,
        str(name).strip() if name is not None else "+".join(parsed.sdl["services"]),
        hours,
        stored,
        sdl.parsed(text).manifest,
    )


def invalid(why: str) -> Refusal:
    """A request that is not of the form that the API file has."""
    return Refusal(400, "BadRequestError", why, code="validation_error")


def routes(made: APIRouter, world: "AkashWorld") -> None:
    """Answers 404 to all of them where the Console is an older one."""

    @made.get("/sdl-secrets-context")
    async def context() -> Any:
        _only_newer(world)
        if not world.settings.seals:
            raise Refusal(503, "ServiceUnavailable", "SDL secrets encryption is unavailable")
        return {"data": secrets.context()}

    @made.get("/activities/{number}")
    async def activity(number: str) -> Any:
        _only_newer(world)
        known = world.book.activities.get(number)
        if known is None:
            raise Refusal(404, "NotFoundError", "Activity not found")
        return {"data": _activity(known)}

    @made.patch("/deployments/{dseq}")
    async def patch(dseq: str, body: dict[str, Any]) -> Any:
        """A name alone: no update on the chain, and no provider is asked."""
        _only_newer(world)
        deployment = world.book.deployments.get(dseq)
        if deployment is None:
            raise Refusal(404, "NotFoundError", "Deployment not found")
        wanted = body["data"]
        if wanted.keys() != {"name"} or not 1 <= len(wanted["name"].strip()) <= _LONGEST_NAME:
            raise invalid("At least one field must be patched, or sealed secrets supplied")
        deployment.name = wanted["name"].strip()
        world.save()
        answer = await answers.detail(world, deployment, part="chain")
        return {"data": {**answer, "name": deployment.name}}


def close(world: "AkashWorld", deployment: SimDeployment) -> str:
    """Close it in the background; the number of the activity."""
    made = SimActivity(id=str(uuid.uuid4()), dseq=deployment.dseq, made_at=time.time())
    world.book.activities[made.id] = made
    world.save()
    world.soon(_close(world, deployment, made))
    return made.id


async def _close(world: "AkashWorld", deployment: SimDeployment, made: SimActivity) -> None:
    await asyncio.sleep(world.settings.close_delay)
    if world.trouble.underflow > 0:
        world.trouble.underflow -= 1
        made.status, made.problem = "failed", "Deployment escrow cannot be settled yet"
    else:
        await world.settle(deployment)
        await world.close(deployment)
        made.status = "succeeded"
    world.save()


def fund(world: "AkashWorld", deployment: SimDeployment) -> None:
    """Add what a lease lacks for the time ahead, as far as the credit goes."""
    settings, free = world.settings, world.book.credits
    if not settings.extended or settings.trial:
        return
    per_hour = 3600 / Decimal(str(settings.block_seconds))
    spendable = free - settings.headroom if free > settings.headroom else free
    lacks = escrow.lacks(deployment, per_hour, settings.runway_hours)
    amount = max(Decimal(0), min(lacks, spendable))
    world.book.credits -= amount
    deployment.escrow.funds += amount * escrow.UACT
    deployment.escrow.funded_at = time.time()


def fund_again(world: "AkashWorld", deployment: SimDeployment) -> None:
    """The hourly look at what lasts less than a day."""
    settings = world.settings
    if not settings.extended or time.time() < deployment.escrow.funded_at + settings.fund_every:
        return
    left = escrow.runway(deployment, 3600 / Decimal(str(settings.block_seconds)))
    if left is not None and left < settings.look_ahead_hours:
        fund(world, deployment)
    deployment.escrow.funded_at = time.time()


def _only_newer(world: "AkashWorld") -> None:
    if not world.settings.extended:
        raise Refusal(404, "NotFoundError", "Not found")


def _activity(made: SimActivity) -> dict[str, Any]:
    at = datetime.fromtimestamp(made.made_at, UTC).isoformat()
    meta: dict[str, Any] = {"dseq": made.dseq}
    if made.problem:
        meta["error"] = {"code": "bad_request", "message": made.problem}
    return {
        "id": made.id,
        "type": "deployment_close",
        "status": made.status,
        "meta": meta,
        "seenAt": None,
        "createdAt": at,
        "updatedAt": at,
    }
