"""Who may do what: roles, actions, and the one table that joins them.

Everybody has a role on the server, and may have others in projects. A role of the server counts
everywhere where the table says `all`; in a project it is the member's role there that counts, and
in one's personal project (of one's own name) the role of the server.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.errors import Forbidden


class Role(StrEnum):
    """What somebody is to this installation, or to a project.

    `developer` runs jobs and looks after the own ones; `operator` looks after everybody's;
    `viewer` only looks; `billing` looks and decides on budgets; `admin` may do everything.
    """

    ADMIN = "admin"
    OPERATOR = "operator"
    DEVELOPER = "developer"
    VIEWER = "viewer"
    BILLING = "billing"


class Action(StrEnum):
    """What a route does, as far as rights are concerned. A group counts as its jobs."""

    SERVER_READ = "server.read"
    JOBS_READ = "jobs.read"
    JOBS_SUBMIT = "jobs.submit"
    JOBS_CANCEL = "jobs.cancel"
    JOBS_EXTEND = "jobs.extend"
    JOBS_RESOLVE = "jobs.resolve"
    MONEY_READ = "money.read"
    BUDGETS_CHANGE = "budgets.change"
    PROVIDERS_READ = "providers.read"
    PROVIDERS_OPERATE = "providers.operate"
    PROVIDERS_CHANGE = "providers.change"
    PLUGINS_READ = "plugins.read"
    RECONCILE_READ = "reconcile.read"
    RECONCILE_RUN = "reconcile.run"
    AUDIT_READ = "audit.read"
    SECRETS_READ = "secrets.read"
    SECRETS_ROTATE = "secrets.rotate"
    NAMED_SECRETS_READ = "named-secrets.read"
    """To see the names of a project's secrets; the values nobody sees."""
    NAMED_SECRETS_CHANGE = "named-secrets.change"
    NAMED_SECRETS_USE = "named-secrets.use"
    """To submit jobs that get them."""
    TEMPORAL_DECODE = "temporal.decode"
    """To see what Temporal keeps encrypted: of everybody's jobs."""
    TEMPORAL_ENCODE = "temporal.encode"
    USERS_READ = "users.read"
    USERS_CHANGE = "users.change"
    KEYS_CHANGE = "keys.change"
    """To see, make and revoke API keys."""
    PROJECTS_READ = "projects.read"
    PROJECTS_CREATE = "projects.create"
    PROJECTS_CHANGE = "projects.change"
    """To say who is in a project, to describe and to archive it."""
    SESSIONS_CHANGE = "sessions.change"
    """To see and end sessions."""
    ACCOUNT_CHANGE = "account.change"
    """To change one's own password and second factor."""
    SETTINGS_READ = "settings.read"
    SETTINGS_CHANGE = "settings.change"
    """To change settings while Cortex runs."""
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_CHANGE = "webhooks.change"
    TEMPLATES_READ = "templates.read"
    TEMPLATES_CHANGE = "templates.change"
    FILTERS_CHANGE = "filters.change"
    """To save filters of one's own; to share them takes the right to submit to the project."""
    NOTICES_CHANGE = "notices.change"
    """To see and choose what one is told."""
    SCHEDULES_READ = "schedules.read"
    SCHEDULES_CHANGE = "schedules.change"


class Reach(StrEnum):
    """On whose things an action is allowed."""

    OWN = "own"
    """One's own: in one's projects those that one has submitted."""
    PROJECT = "project"
    """All that is in one's projects, the personal one too."""
    ALL = "all"
    """Everything; as a role within a project: everything there."""


_READS: Final = {
    action: Reach.ALL
    for action in (
        Action.SERVER_READ,
        Action.JOBS_READ,
        Action.MONEY_READ,
        Action.PROVIDERS_READ,
        Action.PLUGINS_READ,
        Action.RECONCILE_READ,
        Action.TEMPLATES_READ,
        Action.SCHEDULES_READ,
    )
}

IN_PROJECTS: Final = frozenset(
    {
        Action.JOBS_READ,
        Action.JOBS_SUBMIT,
        Action.JOBS_CANCEL,
        Action.JOBS_EXTEND,
        Action.MONEY_READ,
        Action.TEMPLATES_READ,
        Action.TEMPLATES_CHANGE,
        Action.SCHEDULES_READ,
        Action.SCHEDULES_CHANGE,
        Action.PROJECTS_READ,
        Action.PROJECTS_CHANGE,
        Action.NAMED_SECRETS_READ,
        Action.NAMED_SECRETS_CHANGE,
        Action.NAMED_SECRETS_USE,
        Action.WEBHOOKS_READ,
        Action.WEBHOOKS_CHANGE,
    }
)
"""What a role within a project can allow; all else is a matter of the server."""

_KEYS: Final = {
    Action.KEYS_CHANGE: Reach.OWN,
    Action.SESSIONS_CHANGE: Reach.OWN,
    Action.ACCOUNT_CHANGE: Reach.OWN,
    Action.FILTERS_CHANGE: Reach.OWN,
    Action.NOTICES_CHANGE: Reach.OWN,
}
_LOOKS: Final = _READS | _KEYS | {Action.PROJECTS_READ: Reach.ALL}

POLICY: Final = MappingProxyType(
    {
        Role.ADMIN: dict.fromkeys(Action, Reach.ALL),
        Role.OPERATOR: _LOOKS
        | {
            Action.JOBS_SUBMIT: Reach.ALL,
            Action.JOBS_CANCEL: Reach.ALL,
            Action.JOBS_EXTEND: Reach.ALL,
            Action.PROVIDERS_OPERATE: Reach.ALL,
            Action.RECONCILE_RUN: Reach.ALL,
            Action.TEMPORAL_DECODE: Reach.ALL,
            Action.NAMED_SECRETS_READ: Reach.ALL,
            # A job can print what it gets: not those of projects that one is not in.
            Action.NAMED_SECRETS_CHANGE: Reach.PROJECT,
            Action.NAMED_SECRETS_USE: Reach.PROJECT,
            Action.SETTINGS_READ: Reach.ALL,
            Action.WEBHOOKS_READ: Reach.ALL,
            Action.WEBHOOKS_CHANGE: Reach.ALL,
            Action.TEMPLATES_CHANGE: Reach.ALL,
            Action.SCHEDULES_CHANGE: Reach.ALL,
        },
        Role.DEVELOPER: _KEYS
        | {
            Action.SERVER_READ: Reach.ALL,
            Action.PROVIDERS_READ: Reach.ALL,
            Action.PLUGINS_READ: Reach.ALL,
            Action.PROJECTS_READ: Reach.PROJECT,
            Action.JOBS_READ: Reach.PROJECT,
            Action.MONEY_READ: Reach.PROJECT,
            Action.JOBS_SUBMIT: Reach.PROJECT,
            Action.JOBS_CANCEL: Reach.OWN,
            Action.JOBS_EXTEND: Reach.OWN,
            Action.NAMED_SECRETS_READ: Reach.PROJECT,
            Action.NAMED_SECRETS_CHANGE: Reach.OWN,
            Action.NAMED_SECRETS_USE: Reach.PROJECT,
            Action.WEBHOOKS_READ: Reach.PROJECT,
            Action.WEBHOOKS_CHANGE: Reach.OWN,
            Action.TEMPLATES_READ: Reach.PROJECT,
            Action.TEMPLATES_CHANGE: Reach.OWN,
            Action.SCHEDULES_READ: Reach.PROJECT,
            Action.SCHEDULES_CHANGE: Reach.OWN,
        },
        Role.VIEWER: _LOOKS | {Action.NAMED_SECRETS_READ: Reach.ALL},
        Role.BILLING: _LOOKS | {Action.BUDGETS_CHANGE: Reach.ALL},
    }
)


class Principal(BaseModel):
    """Who asks: a name, which also owns the jobs that it submits, a role, and from where.

    Attributes:
        source: Address that the request came from.
        request_id: Its correlation id.
        credential: Visible part of the API key that was sent; empty for those of the settings.
        scopes: What that key may do at most; None: whatever the role allows.
        memberships: The roles in projects, by their names; not in the personal one.
        only: The one project to which that key is bound.
        budget_key: Id of that key, if it has a budget: what is submitted counts there.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    source: str = ""
    request_id: str = ""
    credential: str = ""
    scopes: frozenset[Action] | None = None
    memberships: Mapping[str, Role] = Field(default_factory=dict)
    only: str | None = None
    budget_key: str | None = Field(default=None, repr=False)

    @property
    def home(self) -> str:
        """The project of what is submitted without naming one."""
        return self.only or self.name

    def may(self, action: Action, *, owner: str | None = None, project: str | None = None) -> bool:
        """Whether the action is allowed: at all, or on a thing of this owner in this project.

        With an owner alone, in the personal project of that one.
        """
        if self.scopes is not None and action not in self.scopes:
            return False
        if action in IN_PROJECTS:
            project = project or owner
            if project is not None:
                return self._may_in(project, action, owner)
            projects = self.projects(action)
            return projects is None or bool(projects)
        if self.only is not None and action not in _BESIDES:
            return False
        reach = POLICY[self.role].get(action)
        return reach == Reach.ALL or (reach == Reach.OWN and owner in (None, self.name))

    def reaches_all(self, action: Action) -> bool:
        """Whether the action is allowed whosesoever a thing is."""
        return self.only is None and POLICY[self.role].get(action) == Reach.ALL

    def sees(self, project: str) -> bool:
        """Whether one may know of what is in a project, whatever the key is for."""
        return self._may_in(project, Action.JOBS_READ, None)

    def projects(self, action: Action) -> frozenset[str] | None:
        """The projects in which an action is allowed, at least on one's own; None: in all."""
        if self.reaches_all(action):
            return None
        mine = {self.name, *self.memberships} if self.only is None else {self.only}
        return frozenset(name for name in mine if self._may_in(name, action, self.name))

    def _may_in(self, project: str, action: Action, owner: str | None) -> bool:
        if self.only is not None and project != self.only:
            return False
        if POLICY[self.role].get(action) == Reach.ALL:
            return True
        role = self.role if project == self.name else self.memberships.get(project)
        if role is None:
            return False
        reach = POLICY[role].get(action)
        return reach is not None and (reach != Reach.OWN or owner in (None, self.name))

    def require(
        self, action: Action, *, owner: str | None = None, project: str | None = None
    ) -> None:
        """Go on only if it is allowed.

        Raises:
            Forbidden: names the action and the roles that may.
        """
        if self.may(action, owner=owner, project=project):
            return
        if self.budget_key is not None and action in NEVER_WITH_BUDGET:
            raise Forbidden(
                f"the API key `{self.credential}` of `{self.name}` has a budget, and a key with a "
                f"budget never allows `{action.replace('.', ':')}`",
                action=action,
            )
        if self.scopes is not None and action not in self.scopes:
            raise Forbidden(
                f"the API key `{self.credential}` of `{self.name}` has not the scope "
                f"`{action.replace('.', ':')}`",
                action=action,
            )
        if self.only is not None and action not in IN_PROJECTS:
            raise Forbidden(
                f"the API key `{self.credential}` of `{self.name}` is for the project "
                f"`{self.only}` only, and `{action}` is about the whole server",
                action=action,
            )
        if action in IN_PROJECTS and owner is not None:
            project = project or owner
        if project is not None and not self.may(action, project=project):
            role = self.memberships.get(project)
            what = "is not in it" if role is None else f"is {role} there"
            raise Forbidden(
                f"`{self.name}` may not do `{action}` in the project `{project}`, as it {what}. "
                f"{_who(action)}",
                action=action,
            )
        if owner is not None and self.may(action):
            things = _THINGS.get(action, "jobs")
            raise Forbidden(
                f"`{self.name}` ({self.role}) may do `{action}` on its own {things} only; "
                f"this one is of `{owner}`. {_who(action, Reach.ALL)}",
                action=action,
            )
        raise Forbidden(
            f"`{self.name}` ({self.role}) may not do `{action}`. {_who(action)}", action=action
        )

    def require_same_budget(self, api_key: str | None, thing: str, action: Action) -> None:
        """Go on unless a key with a budget would spend beside it.

        Args:
            api_key: The key whose budget the thing counts against; None: none.
            thing: What it is, in words.
            action: What would be done.

        Raises:
            Forbidden: the thing was not submitted with this key.
        """
        if self.budget_key not in (None, api_key):
            raise Forbidden(
                f"the API key `{self.credential}` of `{self.name}` has a budget, and {thing} was "
                f"not made with it: it may not do `{action}` there",
                action=action,
            )


_THINGS: Final = {
    Action.KEYS_CHANGE: "keys",
    Action.NAMED_SECRETS_CHANGE: "secrets",
    Action.SESSIONS_CHANGE: "sessions",
    Action.WEBHOOKS_READ: "webhooks",
    Action.WEBHOOKS_CHANGE: "webhooks",
    Action.TEMPLATES_CHANGE: "templates",
    Action.SCHEDULES_CHANGE: "schedules",
}
NEVER_WITH_BUDGET: Final = frozenset(
    {
        Action.KEYS_CHANGE,
        Action.ACCOUNT_CHANGE,
        Action.SESSIONS_CHANGE,
        Action.USERS_CHANGE,
        Action.BUDGETS_CHANGE,
        Action.SETTINGS_CHANGE,
        Action.PROVIDERS_CHANGE,
        Action.TEMPLATES_CHANGE,
        Action.JOBS_RESOLVE,
    }
)
"""What a key with a budget never allows: with it one could spend beside the budget. A schedule of
somebody else may follow the template that is changed; whoever resolves says what a lease cost."""

_BESIDES: Final = frozenset({Action.SERVER_READ, Action.PROVIDERS_READ})
"""What one needs to run jobs, though it is about the whole server."""

LOCAL_ADMIN: Final = "local"
"""The name of whoever has the plain `api.key`, and of this machine where there is no key."""


def _who(action: Action, least: Reach | None = None) -> str:
    roles = [
        f"`{role}`"
        for role, allowed in POLICY.items()
        if action in allowed and least in (None, allowed[action])
    ]
    if len(roles) == 1:
        return f"Only the role {roles[0]} may"
    return f"The roles {', '.join(roles[:-1])} and {roles[-1]} may"
