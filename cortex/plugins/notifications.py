"""Events that people want to be told of, in words."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cortex.domain.events import Event, EventType

Level = Literal["info", "warning", "error"]
_ENDS: dict[str, tuple[Level, str]] = {
    "completed": ("info", "has completed"),
    "cancelled": ("warning", "was cancelled"),
    "failed": ("error", "has failed"),
}
_HEALTH: dict[str, tuple[Level, str]] = {
    "online": ("info", "is online"),
    "degraded": ("warning", "is degraded"),
    "offline": ("error", "is offline"),
}


class Notification(BaseModel):
    """What a channel tells."""

    model_config = ConfigDict(frozen=True)

    level: Level
    title: str
    text: str = ""
    job_id: str | None = None
    time: datetime
    event: Event


def notification_of(event: Event) -> Notification | None:
    """What is to be told of an event; None for most of them.

    Told are: a job's end, what holds a job up, a provider's change of health, a webhook's end, a
    schedule that Cortex has paused.
    """
    data = {name: value for name, value in event.data.items() if isinstance(value, str)}
    text = data.get("message", "")
    if event.type is EventType.JOB_TROUBLE:
        told = "; ".join(filter(None, (text, data.get("next", ""))))
        return _note(event, "warning", f"job {event.subject} is held up", told)
    if event.type is EventType.JOB_STATE_CHANGED and data.get("state") in _ENDS:
        level, words = _ENDS[data["state"]]
        return _note(event, level, f"job {event.subject} {words}", text)
    if event.type is EventType.PROVIDER_STATUS_CHANGED and data.get("status") in _HEALTH:
        level, words = _HEALTH[data["status"]]
        return _note(event, level, f"provider {event.subject} {words}", text)
    if event.type is EventType.WEBHOOK_DISABLED:
        return _note(event, "error", f"webhook {event.subject} was disabled", text)
    if event.type is EventType.SCHEDULE_PAUSED:
        return _note(event, "error", f"schedule {data.get('name', event.subject)} was paused", text)
    return None


def _note(event: Event, level: Level, title: str, text: str) -> Notification:
    return Notification(
        level=level, title=title, text=text, job_id=event.job_id, time=event.time, event=event
    )
