"""Projects: to whom jobs and groups belong, and who may do what with them there.

Everybody has a personal project of their own name. Others are made by admins, and their members
have a role in each. A project is never removed, since jobs and bills have its name: it is archived,
and takes nothing new then.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from cortex.domain.rights import Role


class Member(BaseModel):
    """Somebody in a project."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    added_at: datetime
    added_by: str


class Project(BaseModel):
    """A project that was made; not a personal one."""

    model_config = ConfigDict(frozen=True)

    name: str
    description: str
    members: tuple[Member, ...] = ()
    created_at: datetime
    created_by: str
    updated_at: datetime
    archived_at: datetime | None = None
