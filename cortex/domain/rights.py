"""Who may do what: roles, actions, and the one table that joins them."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict

from cortex.domain.errors import Forbidden


class Role(StrEnum):
    """What somebody is to this installation.

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
    USERS_READ = "users.read"
    USERS_CHANGE = "users.change"
    KEYS_CHANGE = "keys.change"
    """To see, make and revoke API keys."""


class Reach(StrEnum):
    """On whose things an action is allowed."""

    OWN = "own"
    ALL = "all"


_READS: Final = {
    action: Reach.ALL
    for action in (
        Action.SERVER_READ,
        Action.JOBS_READ,
        Action.MONEY_READ,
        Action.PROVIDERS_READ,
        Action.PLUGINS_READ,
        Action.RECONCILE_READ,
    )
}

_KEYS: Final = {Action.KEYS_CHANGE: Reach.OWN}

POLICY: Final = MappingProxyType(
    {
        Role.ADMIN: dict.fromkeys(Action, Reach.ALL),
        Role.OPERATOR: _READS
        | _KEYS
        | {
            Action.JOBS_SUBMIT: Reach.ALL,
            Action.JOBS_CANCEL: Reach.ALL,
            Action.JOBS_EXTEND: Reach.ALL,
            Action.PROVIDERS_OPERATE: Reach.ALL,
            Action.RECONCILE_RUN: Reach.ALL,
        },
        Role.DEVELOPER: _READS
        | _KEYS
        | {
            Action.JOBS_SUBMIT: Reach.OWN,
            Action.JOBS_CANCEL: Reach.OWN,
            Action.JOBS_EXTEND: Reach.OWN,
        },
        Role.VIEWER: _READS | _KEYS,
        Role.BILLING: _READS | _KEYS | {Action.BUDGETS_CHANGE: Reach.ALL},
    }
)


class Principal(BaseModel):
    """Who asks: a name, which also owns the jobs that it submits, a role, and from where.

    Attributes:
        source: Address that the request came from.
        request_id: Its correlation id.
        credential: Visible part of the API key that was sent; empty for those of the settings.
        scopes: What that key may do at most; None: whatever the role allows.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    source: str = ""
    request_id: str = ""
    credential: str = ""
    scopes: frozenset[Action] | None = None

    def may(self, action: Action, *, owner: str | None = None) -> bool:
        """Whether the action is allowed: at all, or on a thing of this owner."""
        if self.scopes is not None and action not in self.scopes:
            return False
        reach = POLICY[self.role].get(action)
        return reach == Reach.ALL or (reach == Reach.OWN and owner in (None, self.name))

    def require(self, action: Action, *, owner: str | None = None) -> None:
        """Go on only if it is allowed.

        Raises:
            Forbidden: names the action and the roles that may.
        """
        if self.may(action, owner=owner):
            return
        if self.scopes is not None and action not in self.scopes:
            raise Forbidden(
                f"the API key `{self.credential}` of `{self.name}` has not the scope "
                f"`{action.replace('.', ':')}`",
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


_THINGS: Final = {Action.KEYS_CHANGE: "keys"}

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
