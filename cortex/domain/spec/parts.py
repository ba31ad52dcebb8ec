"""What several parts of a job spec share."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from cortex.domain.money import Money

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def container_path(value: str) -> str:
    """The path of a file in the job's container, in its short form.

    Raises:
        ValueError: it is none.
    """
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or "\0" in value or len(value) > 4096:
        raise ValueError("must be an absolute path without `..`")
    return str(path)


def positive_money(value: Money | None) -> Money | None:
    """The amount, if it is one.

    Raises:
        ValueError: it is zero or less.
    """
    if value is not None and value.amount <= 0:
        raise ValueError("must be more than zero")
    return value
