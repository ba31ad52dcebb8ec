"""Who may do what."""

import runpy
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from cortex.domain.errors import Forbidden
from cortex.domain.rights import IN_PROJECTS, Action, Principal, Role
from cortex.settings import ApiKey, ApiSettings

ROOT = Path(__file__).parents[2]
EVERYBODY = set(Role)
ADMINS = {Action.AUDIT_READ, Action.SECRETS_READ, Action.USERS_READ}
RUNNERS = {Role.ADMIN, Role.OPERATOR, Role.DEVELOPER}
READS = (
    {action for action in Action if action.endswith(".read")}
    - ADMINS
    - {Action.WEBHOOKS_READ, Action.NAMED_SECRETS_READ, Action.SETTINGS_READ}
)
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
        Action.TEMPORAL_DECODE: {Role.ADMIN, Role.OPERATOR},
        Action.TEMPORAL_ENCODE: {Role.ADMIN},
        Action.USERS_CHANGE: {Role.ADMIN},
        Action.KEYS_CHANGE: EVERYBODY,
        Action.PROJECTS_CREATE: {Role.ADMIN},
        Action.PROJECTS_CHANGE: {Role.ADMIN},
        Action.RECONCILE_READ: EVERYBODY - {Role.DEVELOPER},
        Action.SESSIONS_CHANGE: EVERYBODY,
        Action.ACCOUNT_CHANGE: EVERYBODY,
        Action.WEBHOOKS_READ: RUNNERS,
        Action.WEBHOOKS_CHANGE: RUNNERS,
        Action.SETTINGS_READ: {Role.ADMIN, Role.OPERATOR},
        Action.SETTINGS_CHANGE: {Role.ADMIN},
        Action.TEMPLATES_CHANGE: RUNNERS,
        Action.NAMED_SECRETS_READ: RUNNERS | {Role.VIEWER},
        Action.NAMED_SECRETS_CHANGE: RUNNERS,
        Action.NAMED_SECRETS_USE: RUNNERS,
        Action.SCHEDULES_CHANGE: RUNNERS,
        Action.FILTERS_CHANGE: EVERYBODY,
        Action.NOTICES_CHANGE: EVERYBODY,
    }
    | dict.fromkeys(READS - {Action.RECONCILE_READ}, EVERYBODY)
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
        ann = Principal(name="ann", role=Role.DEVELOPER, memberships={"vision": Role.DEVELOPER})
        assert ann.may(action, owner="ann")
        assert ann.may(action, owner="ann", project="vision")
        assert not ann.may(action, owner="bob")
        assert not ann.may(action, owner="bob", project="vision")
        with pytest.raises(Forbidden, match=r"own jobs only; this one is of `bob`.*`operator`"):
            ann.require(action, owner="bob", project="vision")
        with pytest.raises(
            Forbidden, match=r"in the project `bob`, as it is not in it.*`operator`"
        ):
            ann.require(action, owner="bob")
        for role in (Role.ADMIN, Role.OPERATOR):
            assert Principal(name="eve", role=role).may(action, owner="bob")
            member = ann.model_copy(update={"memberships": {"vision": role}})
            assert member.may(action, owner="bob", project="vision")
            assert not member.may(action, owner="bob", project="other")

    def test_the_refusal_names_action_and_roles(self) -> None:
        with pytest.raises(Forbidden) as caught:
            Principal(name="ann", role=Role.VIEWER).require(Action.JOBS_RESOLVE)
        assert caught.value.detail == (
            "`ann` (viewer) may not do `jobs.resolve`. Only the role `admin` may"
        )


class TestProjects:
    ANN = Principal(
        name="ann",
        role=Role.VIEWER,
        memberships={"vision": Role.DEVELOPER, "sound": Role.VIEWER, "text": Role.ADMIN},
    )

    def test_where_something_is_allowed(self) -> None:
        assert self.ANN.projects(Action.JOBS_READ) is None  # a viewer of the server sees all
        assert self.ANN.projects(Action.JOBS_SUBMIT) == frozenset({"vision", "text"})
        assert self.ANN.projects(Action.PROJECTS_CHANGE) == frozenset({"text"})
        nobody = Principal(name="bob", role=Role.DEVELOPER)
        assert nobody.projects(Action.JOBS_READ) == frozenset({"bob"})
        assert nobody.projects(Action.JOBS_SUBMIT) == frozenset({"bob"})

    def test_a_role_there_is_none_of_the_server(self) -> None:
        for action in set(Action) - {Action.KEYS_CHANGE}:
            alone = self.ANN.model_copy(update={"memberships": {}})
            if self.ANN.may(action) != alone.may(action):
                assert action in IN_PROJECTS
        assert not self.ANN.may(Action.PROVIDERS_CHANGE)
        assert not self.ANN.may(Action.USERS_READ)

    def test_a_key_of_one_project_opens_no_other(self) -> None:
        eve = Principal(name="eve", role=Role.ADMIN, only="vision", credential="ctx_12345678")
        assert eve.home == "vision"
        assert eve.projects(Action.JOBS_READ) == frozenset({"vision"})
        assert eve.may(Action.JOBS_CANCEL, owner="bob", project="vision")
        assert not eve.may(Action.JOBS_CANCEL, owner="eve", project="eve")
        assert eve.may(Action.PROVIDERS_READ)
        assert not eve.may(Action.KEYS_CHANGE, owner="eve")
        with pytest.raises(Forbidden, match="for the project `vision` only"):
            eve.require(Action.USERS_CHANGE)

    def test_the_table_in_the_guide(self) -> None:
        guide = (ROOT / "docs/security.md").read_text()
        made = runpy.run_path(str(ROOT / "scripts/role_matrix.py"))
        assert guide == made["written"](guide), "`make format` writes it anew"


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
