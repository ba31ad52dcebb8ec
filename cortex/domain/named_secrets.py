"""Named secrets of projects: kept once, and referred to by jobs.

A job gets a copy of the value when it is accepted. What is set or taken away later is for later
jobs.
"""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

LONGEST_SECRET: Final = 16_384
"""In characters."""
MOST_IN_PROJECT: Final = 1000


class NamedSecret(BaseModel):
    """What may be known of a secret; its value is nowhere to be had."""

    model_config = ConfigDict(frozen=True)

    name: str
    project: str
    owner: str = Field(description="Who set it first.")
    version: int = Field(description="How often it was set.")
    set_by: str = Field(description="Who set it last.")
    set_at: datetime = Field(description="When it was set last.")
    created_at: datetime
    used_at: datetime | None = Field(
        default=None, description="When a job was last accepted with it, to the minute."
    )
