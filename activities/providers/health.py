"""The scheduled check of one provider (`health:<provider>`), on its own task queue."""

from temporalio import activity

from activities.runtime.checkup import Checkup
from activities.runtime.fleet import Fleet
from cortex.db.providers.repository import Observation
from cortex.temporal.contracts import HealthInput, HealthResult
from providers.errors import ProviderError


class HealthActivities:
    def __init__(self, fleet: Fleet, checkup: Checkup) -> None:
        self._fleet = fleet
        self._checkup = checkup

    @activity.defn
    async def check_health(self, checked: HealthInput) -> HealthResult:
        """Check a provider of this worker; its status."""
        origin = self._fleet.origin(checked.provider_id)
        try:
            provider = self._fleet.get(checked.provider_id)
        except ProviderError as error:
            observation = Observation("bad", str(error), origin=origin)
            return HealthResult(status=await self._checkup.note(checked.provider_id, observation))
        return HealthResult(status=await self._checkup.check(provider, origin=origin))
