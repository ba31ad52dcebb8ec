"""What a job's events tell its user, as lines of plain words."""

from cortex.domain.events import EventType
from tests.integration.conftest import Stage

_TELLING = (EventType.JOB_TROUBLE, EventType.JOB_RETRYING)


async def troubles(stage: Stage, job_id: str) -> list[str]:
    """`what happened; what Cortex does next`, one a trouble, in order."""
    async with stage.database.transaction() as tx:
        events = await tx.events.page(None, job_id=job_id)
    told = [event.data for event in events if event.type in _TELLING]
    for data in told:
        assert data["message"], data
        assert data["next"], data
    return [f"{data['message']}; {data['next']}" for data in told]
