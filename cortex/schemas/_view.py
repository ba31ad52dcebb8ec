"""The base of what the API answers."""

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """An answer, or a part of one: never changed once it is made."""

    # Their schemas are built when they are first used: a process uses few of them.
    model_config = ConfigDict(frozen=True, defer_build=True)
