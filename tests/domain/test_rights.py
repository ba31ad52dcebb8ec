"""Who may do what."""

import pytest
from pydantic import SecretStr, ValidationError

from cortex.domain.errors import Forbidden
from cortex.domain.rights import Action, Principal, Role
from cortex.settings import ApiKey, ApiSettings

EVERYBODY = set(Role)
ADMINS = {Action.AUDIT_READ, Action.SECRETS_READ, Action.USERS_READ}
READS = {action for action in Action if action.endswith(".read")} - ADMINS
# Written down a second time, on purpose: a change of the table must be meant.
MAY = (
    {
        Action.JOBS_SUBMIT: {Role.ADMIN, Role.OPERATOR, Role.DEVELOPER},
        Action.JOBS_CANCEL: {Role.ADMIN, Role.OPERATOR, Role.DEVELOPER},
        Action.JOBS_EXTEND: {Role.ADMIN, Role.OPERATOR, Role.DEVELOPER},
        Action.JOBS_RESOLVE: {Role.ADMIN},
        Action.BUDGETS_CHANGE: {Role.ADMIN, Role.BILLING},
        Action.PROVIDERS_OPERATE: {Role.ADMIN, Role.OPERATOR},
        Action.PROVIDERS_CHANGE: {Role.ADMIN},
        Action.RECONCILE_RUN: {Role.ADMIN, Role.OPERATOR},
        Action.SECRETS_ROTATE: {Role.ADMIN},
        Action.USERS_CHANGE: {Role.ADMIN},
        Action.KEYS_CHANGE: EVERYBODY,
    }
    | dict.fromkeys(READS, EVERYBODY)
    | dict.fromkeys(ADMINS, {Role.ADMIN})
)


def key(text: str, role: Role = Role.VIEWER) -> ApiKey:
    return ApiKey(key=SecretStr(text), role=role)


class TestPolicy:
    def test_every_action_of_every_role(self) -> None:
        assert set(MAY) == set(Action)
        for action, roles in MAY.items():
            allowed = {role for role in Role if Principal(name="x", role=role).may(action)}
            assert allowed == roles, action

    @pytest.mark.parametrize("action", [Action.JOBS_CANCEL, Action.JOBS_EXTEND])
    def test_a_developer_reaches_to_own_jobs_only(self, action: Action) -> None:
        ann = Principal(name="ann", role=Role.DEVELOPER)
        assert ann.may(action, owner="ann")
        assert not ann.may(action, owner="bob")
        with pytest.raises(Forbidden, match=r"own jobs only; this one is of `bob`.*`operator`"):
            ann.require(action, owner="bob")
        for role in (Role.ADMIN, Role.OPERATOR):
            assert Principal(name="eve", role=role).may(action, owner="bob")

    def test_the_refusal_names_action_and_roles(self) -> None:
        with pytest.raises(Forbidden) as caught:
            Principal(name="ann", role=Role.VIEWER).require(Action.JOBS_RESOLVE)
        assert caught.value.detail == (
            "`ann` (viewer) may not do `jobs.resolve`. Only the role `admin` may"
        )


class TestKeys:
    def test_names_and_keys_are_told_apart(self) -> None:
        with pytest.raises(ValidationError, match="`ann` and `bob` have the same key"):
            ApiSettings(keys={"ann": key("x" * 16), "bob": key("x" * 16)})
        with pytest.raises(ValidationError, match="`local` and `ann` have the same key"):
            ApiSettings(key=SecretStr("x" * 16), keys={"ann": key("x" * 16)})
        with pytest.raises(ValidationError, match="owner of the plain"):
            ApiSettings(keys={"local": key("x" * 16)})
        with pytest.raises(ValidationError, match="begin with a letter"):
            ApiSettings(keys={"A b": key("x" * 16)})

    def test_a_short_key_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="at least 16"):
            key("short")
