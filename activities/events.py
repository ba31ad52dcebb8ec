"""The events of a job's states, as the steps write them."""

from cortex.db.engine import Transaction
from cortex.domain.events import EventType, NewEvent
from cortex.domain.jobs import Outcome
from cortex.domain.states import JobState


async def announce(tx: Transaction, job_id: str, state: JobState, **data: object) -> None:
    """The event of a job's new state."""
    await tx.events.add_many([state_event(job_id, state, **data)])


def state_event(job_id: str, state: JobState, **data: object) -> NewEvent:
    """The event of a job's new state, to be written with others."""
    return NewEvent.of_job(EventType.JOB_STATE_CHANGED, job_id, {"state": state.value, **data})


def outcome_data(outcome: Outcome) -> dict[str, object]:
    """What the event of a job's last state tells of it."""
    return {
        "reason": outcome.reason.value,
        "message": outcome.message,
        "exit_code": outcome.exit_code,
    }
