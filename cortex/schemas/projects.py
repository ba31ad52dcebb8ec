"""What the routes about projects take and answer."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from cortex.domain.names import ONE_LINE, one_line_or_none
from cortex.domain.projects import Project
from cortex.domain.rights import Role
from cortex.schemas._view import View
from cortex.schemas.accounts import UserName

Description = Annotated[
    str,
    Field(max_length=1000),
    AfterValidator(one_line_or_none),
    WithJsonSchema({"type": "string", "pattern": f"^$|{ONE_LINE}", "maxLength": 1000}),
]


class ProjectCreate(BaseModel):
    """A new project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: UserName = Field(description="No user has it: that is the name of a personal project.")
    description: Description = ""


class ProjectUpdate(BaseModel):
    """What is changed of a project; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Description | None = None
    archived: StrictBool | None = Field(
        default=None, description="True: it takes no new jobs; those it has go on."
    )


class MemberPut(BaseModel):
    """What somebody is in a project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role = Field(
        description="`developer` submits jobs, sees all and stops the own ones; `operator` stops "
        "everybody's; `viewer` and `billing` look; `admin` also says who is in it."
    )


class ProjectPage(View):
    """Projects, by name; not the personal ones."""

    items: tuple[Project, ...]
