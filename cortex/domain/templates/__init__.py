"""Templates: job and group specs of a project with parameters, by name and version."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.groups.spec import GroupSpec
from cortex.domain.spec import JobSpec
from cortex.domain.templates.parameters import Parameter

Kind = Literal["job", "group"]

MOST_PER_PROJECT: Final = 500
MOST_VERSIONS: Final = 1000
MODELS: Final[Mapping[Kind, type[BaseModel]]] = {"job": JobSpec, "group": GroupSpec}


class TemplateRef(BaseModel):
    """The template that something was made from.

    Attributes:
        id: Never used again, also if another template gets the name.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    version: int


class TemplateSummary(BaseModel):
    """A template as it stands in a list.

    Attributes:
        owner: Who made it.
        version: The latest one.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    project: str
    owner: str
    name: str
    kind: Kind
    version: int
    description: str
    created_at: datetime
    updated_at: datetime


class Template(BaseModel):
    """A template at one of its versions.

    Attributes:
        owner: Who made the template.
        latest: Its newest version.
        job: The job spec with its placeholders, if it is one.
        group: The group spec, if it is one.
        created_at: When this version was made.
        created_by: Who made this version.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    project: str
    owner: str
    name: str
    kind: Kind
    version: int
    latest: int
    description: str
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    job: dict[str, Any] | None = None
    group: dict[str, Any] | None = None
    created_at: datetime
    created_by: str

    @property
    def spec(self) -> dict[str, Any]:
        """The spec with its placeholders."""
        return (self.job if self.kind == "job" else self.group) or {}

    @property
    def ref(self) -> TemplateRef:
        return TemplateRef(id=self.id, name=self.name, version=self.version)
