"""The plugins of the workers, as the API shows them."""

from datetime import datetime

from pydantic import Field

from cortex.schemas._view import View


class SubscriberView(View):
    """One cursor in the stream of events: a plugin's own, or that of a channel of it."""

    id: str
    position: str = Field(description="Of the last event that is done with.")
    worker: str | None = Field(default=None, description="Who hands out events now.")
    delivered: int = 0
    delivered_at: datetime | None = None
    skipped: int = Field(default=0, description="Events that it did not take, after all tries.")
    attempts: int = Field(default=0, description="How often the next event was tried in vain.")
    error: str = Field(default="", description="Why; empty once an event was taken again.")
    retry_at: datetime | None = None


class SkippedEventView(View):
    """An event that was given up."""

    subscriber: str
    event_id: str
    type: str
    subject: str
    attempts: int
    error: str
    time: datetime


class PluginView(View):
    name: str
    package: str = ""
    version: str = ""
    status: str = Field(description="`ok`, `failing`, or `absent`: no worker has it any more.")
    message: str = ""
    strategies: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    subscribers: tuple[SubscriberView, ...] = ()
    skipped: tuple[SkippedEventView, ...] = Field(default=(), description="The newest of them.")
    updated_at: datetime
