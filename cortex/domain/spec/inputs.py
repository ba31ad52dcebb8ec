"""Files of one job that another begins with."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

MAX_INPUTS = 4000
"""Of one job: an array may hand over the outputs of all its members."""

_MAX_PATH = 1024


class Input(BaseModel):
    """Outputs of a job that has ended, put into a folder of this one before it starts.

    A file keeps its name in that folder; of a folder, what it holds is put there.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        serialize_by_alias=True,
        validate_by_alias=True,
        validate_by_name=True,
    )

    source: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        alias="from",
        description="The id of the job; in a group the name of a member or an array, "
        "which gives one folder for each index.",
    )
    path: str | None = Field(
        default=None, description="One of its outputs, or a part of one; absent: all of them."
    )
    to: str = Field(default=".", description="The folder for it, relative to the workdir.")

    @field_validator("path")
    @classmethod
    def _output(cls, value: str | None) -> str | None:
        return None if value is None else _relative(value)

    @field_validator("to")
    @classmethod
    def _folder(cls, value: str) -> str:
        return "." if value in ("", ".", "./") else _relative(value)


def placed(source: Input, path: str) -> str | None:
    """Where an output of the input's job is put, below the workdir; None if it is not taken."""
    output = PurePosixPath(path)
    if source.path is None:
        name = output
    elif output == PurePosixPath(source.path):
        name = PurePosixPath(output.name)
    elif output.is_relative_to(source.path):
        name = output.relative_to(source.path)
    else:
        return None
    return (PurePosixPath(source.to) / name).as_posix()


def both_put(name: str, first: str, second: str) -> str:
    """Why two inputs cannot be: each would put another file at the same place."""
    return (
        f"would put another `{name}` in the place of that from `{first}`; "
        f"give what comes from `{second}` a folder of its own (`to`)"
    )


def _relative(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value or not path.parts:
        raise ValueError(f"`{value[:60]}` must be a relative path, without `..`")
    if len(value) > _MAX_PATH:
        raise ValueError(f"is over {_MAX_PATH} characters")
    return str(path)
