"""The base of what the API answers."""

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """An answer, or a part of one: never changed once it is made."""

    model_config = ConfigDict(frozen=True)
