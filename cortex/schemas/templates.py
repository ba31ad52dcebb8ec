"""What the routes about templates take and answer."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from cortex.domain.errors import wrong_field
from cortex.domain.groups.spec import GroupSpec
from cortex.domain.names import NAME, NO_NUL
from cortex.domain.spec import JobSpec
from cortex.domain.templates import Template, TemplateRef, TemplateSummary
from cortex.domain.templates.parameters import PARAMETER_NAME, Given, Parameter
from cortex.domain.written import ReadAs
from cortex.schemas._view import View
from cortex.schemas.groups import GroupValidation
from cortex.schemas.jobs import Validation
from cortex.schemas.numbers import WHOLE

MOST_PARAMETERS: Final = 100
HIGHEST: Final = 2**31 - 1

ParameterName = Annotated[str, StringConstraints(pattern=PARAMETER_NAME)]
Description = Annotated[str, StringConstraints(pattern=NO_NUL, max_length=2000)]
_NAMED: Final[dict[str, Any]] = {"additionalProperties": False}
"""JSON Schema has only what is said of names that match."""
Parameters = Annotated[
    dict[ParameterName, Parameter], Field(max_length=MOST_PARAMETERS, json_schema_extra=_NAMED)
]
JobPart = Annotated[dict[str, Any], ReadAs((JobSpec,))]
GroupPart = Annotated[dict[str, Any], ReadAs((GroupSpec,))]
Overrides = Annotated[dict[str, Any], ReadAs((JobSpec, GroupSpec))]
Version = Annotated[int, Field(ge=1, le=HIGHEST), WHOLE]
_PLACEHOLDERS: Final = "with `${{ name }}` where a parameter belongs."


def has_one_of(kinds: Mapping[str, str]) -> dict[str, Any]:
    """JSON Schema of what has just one of these fields, each of this type, and not null."""
    one = [
        {"required": [name], "properties": {name: {"type": kind}}} for name, kind in kinds.items()
    ]
    return {"oneOf": one}


class TemplateCreate(BaseModel):
    """A new template: either a `job` or a `group`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=has_one_of({"job": "object", "group": "object"}),
    )

    name: str = Field(pattern=NAME)
    description: Description = Field(default="", description="What it is for.")
    parameters: Parameters = Field(default_factory=dict, description="By their names.")
    job: JobPart | None = Field(default=None, description=f"A job spec, {_PLACEHOLDERS}")
    group: GroupPart | None = Field(default=None, description=f"A group spec, {_PLACEHOLDERS}")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.job is None and self.group is None:
            raise wrong_field("job", "is required, or a `group` instead")
        if self.job is not None and self.group is not None:
            raise wrong_field("group", "cannot stand beside a `job`: give one of both")
        return self


class TemplateUpdate(BaseModel):
    """What the next version has otherwise; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Description | None = None
    parameters: Parameters | None = Field(default=None, description="All of them anew.")
    job: JobPart | None = Field(default=None, description="All of it anew.")
    group: GroupPart | None = Field(default=None, description="All of it anew.")


class TemplateFill(BaseModel):
    """What a template is filled with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Version | None = Field(default=None, description="Else the latest.")
    params: dict[ParameterName, Given] = Field(
        default_factory=dict,
        max_length=MOST_PARAMETERS,
        json_schema_extra=_NAMED,
        description="Values by the names of parameters.",
    )
    overrides: Overrides = Field(
        default_factory=dict,
        description="Merged into the spec that it has become: mappings are merged, a null takes a "
        "field away, everything else, lists too, replaces what is there.",
    )


class TemplatePage(View):
    """Templates, the newest first."""

    items: tuple[TemplateSummary, ...]
    next_cursor: str | None = None


class VersionPage(View):
    """Versions of a template, the newest first."""

    items: tuple[Template, ...]
    next_cursor: str | None = None


class TemplatePreview(View):
    """What a template would become; nothing is stored."""

    template: TemplateRef
    spec: dict[str, Any] = Field(description="The spec, secrets masked.")
    job: Validation | None = Field(default=None, description="What `POST /jobs/validate` says.")
    group: GroupValidation | None = Field(
        default=None, description="What `POST /groups/validate` says."
    )
