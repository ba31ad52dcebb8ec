"""What happened, as the API tells it: envelopes and their pages."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from cortex.schemas._view import View


class EventView(View):
    """A CloudEvents 1.0 envelope."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = "/cortex"
    type: str
    subject: str
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    cortexposition: str = Field(description="Resumes a stream: send it as `Last-Event-ID`.")
    cortexjob: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class EventPage(View):
    items: tuple[EventView, ...]
    next_cursor: str | None = None
