"""Phase two: an activity and its one batch, never handed over twice."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from providers.errors import (
    ImageUnavailable,
    LeaseLost,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    Unavailable,
)
from providers.golem import demand as names
from providers.golem.activities import Activities, UnitGone, ran
from providers.golem.agreements import Agreements
from providers.golem.config import GolemConfig
from providers.golem.guest import Guest
from providers.golem.sealed import unseal
from providers.golem.wire import ActivityState, Agreement
from providers.registries import pull_trouble

_SEEN_WITHIN = 10.0
_FRESH = ("New", "Initialized")


class _Undeployed(Exception):
    """The exe-unit could not deploy the image; its words."""


@dataclass(frozen=True)
class Launcher:
    """Starts reserved jobs. The caller holds the lease's lock."""

    config: GolemConfig
    agreements: Agreements
    activities: Activities

    async def launch(self, agreement: Agreement, key: str) -> None:
        """Have the job running, or know why not.

        Raises:
            NoCapacity: the provider gives no activity after all, or cannot get the image.
            ImageUnavailable: the image's package is not where it should be.
            LeaseLost: what was there cannot be used; nothing of it runs on.
            OutcomeUnknown: something may run; `find` and `status` tell.
        """
        there = await self.activities.of(agreement.agreement_id)
        if there:
            await self._taken_up(agreement, there)
            return
        sealed = str(agreement.demand.properties.get(names.SEALED, ""))
        job = unseal(sealed, key, self.config.app_key.get_secret_value())
        activity_id = await self._activity(agreement)
        await self._run(agreement, activity_id, Guest(self.config, key).batch(job))

    async def _taken_up(self, agreement: Agreement, there: list[str]) -> None:
        """An earlier try got this far. Whether its batch was taken shows in the state.

        The batch is not handed over again: an activity that waits for its first command after an
        interrupted try is given up.
        """
        for activity_id in there:
            if await self._moved(activity_id, _SEEN_WITHIN / 5):
                return
        await self._give_up(agreement, there, "it is not known whether the job was started")
        raise LeaseLost("the start of the job was interrupted; the agreement was ended")

    async def _activity(self, agreement: Agreement) -> str:
        mine = agreement.agreement_id
        problem = "it gives none"
        try:
            made = await self.activities.create(mine)
        except OutcomeUnknown as error:
            made, problem = None, str(error)
        there = await self.activities.of(mine)
        if len(there) > 1:
            # Another machine was as fast: neither of us can know who is first, so nobody is.
            await self._give_up(agreement, there, "the job was started twice at once")
            raise LeaseLost("two machines started this job at once; the agreement was ended")
        if made is None and there:
            made = there[0]
        if made is None:
            await self._give_up(agreement, [], "no activity could be created")
            raise NoCapacity(f"the Golem provider creates no activity: {problem}")
        return made

    async def _run(
        self, agreement: Agreement, activity_id: str, batch: list[dict[str, object]]
    ) -> None:
        try:
            name: str | None = await self.activities.start(activity_id, batch)
            self.activities.first_batch[activity_id] = name or ""
        except (OutcomeUnknown, Unavailable):
            name = None
        try:
            if await self._moved(activity_id, _SEEN_WITHIN, name):
                return
        except _Undeployed as error:
            raise _image_error(agreement, str(error)) from None
        await self._give_up(agreement, [activity_id], "it is not known whether the job was started")
        raise LeaseLost("the Golem provider did not take the job; the agreement was ended")

    async def _moved(self, activity_id: str, patience: float, batch: str | None = None) -> bool:
        """Whether the exe-unit works on a batch, or has."""
        ends = time.monotonic() + patience
        while True:
            state = await self.activities.state(activity_id)
            if state is None:
                return False
            if not fresh(state):
                return True
            if batch is not None and await self._has_results(activity_id, batch):
                return True
            if time.monotonic() > ends:
                # A batch that was taken and not begun yet is the provider's; it will come.
                return batch is not None
            await asyncio.sleep(0.1)

    async def _has_results(self, activity_id: str, batch: str) -> bool:
        try:
            results = await self.activities.results(activity_id, batch, 0.2)
        except (UnitGone, Unavailable):
            return False
        failed = [result for result in results.values() if result.result == "Error"]
        if failed:
            raise _Undeployed(ran(failed[0]).message or "")
        return bool(results)

    async def _give_up(self, agreement: Agreement, there: list[str], why: str) -> None:
        try:
            for activity_id in there:
                await self.activities.destroy(activity_id)
            await self.agreements.terminate(
                agreement.agreement_id, {"message": why, "golem.requestor.code": "Failure"}
            )
        except ProviderError as error:
            raise OutcomeUnknown(f"{why}, and the agreement could not be ended: {error}") from None


def _image_error(agreement: Agreement, said: str) -> ImageUnavailable | NoCapacity:
    """The package is not where it should be; or this one provider cannot get it."""
    package = str(agreement.demand.properties.get(names.PACKAGE, ""))
    text = f"the Golem provider cannot deploy the image ({package}): {said}"
    return ImageUnavailable(text) if pull_trouble(said) == "missing" else NoCapacity(text)


def fresh(state: ActivityState) -> bool:
    """Whether no command has been begun yet."""
    return state.state[0] in _FRESH and state.state[1] is None


def deploy_overdue(agreement: Agreement, config: GolemConfig) -> bool:
    since = agreement.approved_date or agreement.timestamp
    return datetime.now(UTC) - since > config.deploy_timeout
