"""API keys: made, listed and revoked."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from cortex.db.engine import Database, Reading, Transaction
from cortex.domain.accounts import (
    ApiKey,
    KeyBudget,
    NewKey,
    User,
    allowed_by,
    key_hash,
    scopes_of,
)
from cortex.domain.errors import FieldError, InvalidRequest, NotFound
from cortex.domain.ids import new_id
from cortex.domain.money import Money
from cortex.domain.money.budgets import Budget, BudgetAction, BudgetScope, BudgetState
from cortex.domain.rights import IN_PROJECTS, POLICY, Action, Principal, Role
from cortex.schemas.accounts import KeyCreate, KeyCreated, KeyPage
from cortex.services.money.budgets import known_rate
from cortex.services.providers.queries import ProviderRegistry


class ApiKeys:
    """Changes and shows keys: one's own, or everybody's for whom the policy lets."""

    def __init__(self, database: Database, registry: ProviderRegistry) -> None:
        self._database = database
        self._registry = registry

    async def all(self, user: str | None, by: Principal) -> KeyPage:
        """The keys of a user; without one all that `by` may see.

        Raises:
            Forbidden: they are somebody else's.
        """
        if user is not None:
            by.require(Action.KEYS_CHANGE, owner=user)
        elif not _sees_all(by):
            user = by.name
        async with self._database.reading() as tx:
            return KeyPage(items=await _with_budgets(tx, await tx.accounts.keys(user)))

    async def create(self, wanted: KeyCreate, by: Principal) -> KeyCreated:
        """Make a key; the answer is the only place where its text stands.

        Raises:
            Forbidden: it is to be somebody else's.
            NotFound: there is no such user.
            InvalidRequest: a scope could never be used, or is more than the key of `by` has; or no
                rate of the budget's currency is known.
        """
        name = wanted.user or by.name
        by.require(Action.KEYS_CHANGE, owner=name)
        made, key_id = NewKey.make(), new_id("key")
        rate = Decimal(1)
        if wanted.budget is not None:
            rate = await known_rate(self._registry, wanted.budget.currency, "budget")
        async with self._database.transaction() as tx:
            user = _user_of(await tx.accounts.find_user(name), name)
            memberships = await tx.projects.memberships(name)
            _check_scopes(wanted, user, memberships, by)
            _check_project(wanted.project, user, memberships)
            expires_at = None
            if wanted.expires_in is not None:
                expires_at = datetime.now(UTC) + wanted.expires_in
            await tx.accounts.add_key(
                key_id,
                user,
                name=wanted.name,
                prefix=made.prefix,
                hash=key_hash(made.text),
                scopes=wanted.scopes,
                project=wanted.project,
                expires_at=expires_at,
                created_by=by.name,
            )
            if wanted.budget is not None:
                await tx.budgets.add(await _budget(tx, key_id, wanted.name, wanted.budget, rate))
            (info,) = await _with_budgets(tx, [await tx.accounts.key(key_id)])
            after = info.model_dump(
                mode="json", include={"user", "name", "prefix", "project", "scopes", "expires_at"}
            )
            if wanted.budget is not None:
                after["budget"] = str(wanted.budget)
            await tx.audit.add(by, "key.create", key_id, before={}, after=after)
        return KeyCreated(key=made.text, info=info)

    async def revoke(self, key_id: str, by: Principal) -> None:
        """Let a key open nothing any more, at once. Harmless to repeat.

        What was submitted with it goes on, and counts against its budget as before.

        Raises:
            NotFound: there is none with this id, or it is somebody else's and `by` sees own ones
                only.
        """
        async with self._database.transaction() as tx:
            key = await tx.accounts.key(key_id)
            if not by.may(Action.KEYS_CHANGE, owner=key.user):
                raise NotFound(f"there is no API key `{key_id[:60]}`")
            if await tx.accounts.revoke(key_id):
                what = {"user": key.user, "name": key.name, "prefix": key.prefix}
                await tx.audit.add(by, "key.revoke", key_id, before=what, after={})


def _sees_all(by: Principal) -> bool:
    return by.may(Action.KEYS_CHANGE, owner="")


def _user_of(user: User | None, name: str) -> User:
    if user is not None:
        return user
    message = (
        f"`{name}` is no user, and only users have keys here: add one (`cortex users add NAME "
        "--role ROLE`) and say whose the key is (`user`; `--user NAME` of `cortex keys create`). "
        "The keys of the settings are changed in the settings"
    )
    raise NotFound(
        f"the key cannot be made: `user` {message}",
        errors=[FieldError(field="user", message=message)],
    )


def _check_project(project: str | None, user: User, memberships: Mapping[str, Role]) -> None:
    """A key is bound to a project where its user may do something."""
    if project in (None, user.name) or project in memberships:
        return
    message = f"`{user.name}` is not in the project `{project}`"
    raise InvalidRequest(
        f"the key is not valid: `project` {message}",
        errors=[FieldError(field="project", message=message)],
    )


async def _budget(tx: Transaction, key_id: str, name: str, amount: Money, rate: Decimal) -> Budget:
    now = await tx.spending.now()
    return Budget(
        id=new_id("bud"),
        name=name,
        scope=BudgetScope.KEY,
        scope_value=key_id,
        period=None,
        action=BudgetAction.STOP,
        amount=amount,
        usd_rate=rate,
        created_at=now,
        updated_at=now,
    )


async def _with_budgets(tx: Reading | Transaction, keys: Sequence[ApiKey]) -> tuple[ApiKey, ...]:
    budgets = await tx.budgets.of_keys([key.id for key in keys])
    if not budgets:
        return tuple(keys)
    states = await tx.budgets.states(budgets, await tx.spending.now())
    used = {state.budget.scope_value: _used(state) for state in states}
    return tuple(key.model_copy(update={"budget": used.get(key.id)}) for key in keys)


def _used(state: BudgetState) -> KeyBudget:
    budget, spending = state.budget, state.spending
    return KeyBudget(
        amount=budget.amount,
        spent=budget.in_own(spending.charged + spending.held),
        reserved=budget.in_own(spending.reserved),
        left=budget.in_own(state.left_usd),
    )


def _check_scopes(
    new: KeyCreate, user: User, memberships: Mapping[str, Role], by: Principal
) -> None:
    """A key is never stronger than the one it is made with, and each scope is of some use."""
    scopes = new.scopes
    roles = [POLICY[role].keys() & IN_PROJECTS for role in memberships.values()]
    possible = frozenset(POLICY[user.role]).union(*roles)
    for scope in scopes:
        if not (scopes_of((scope,)) or frozenset()) & possible:
            raise _no_scope(f"`{scope}` is of no use: the role `{user.role}` never allows it")
        if new.budget is not None and not allowed_by((scope,), budget=True):
            raise _no_scope(f"`{scope}` is of no use: a key with a budget never allows it")
    wanted = scopes_of(scopes)
    if by.scopes is not None and (wanted is None or not wanted <= by.scopes):
        raise _no_scope("a key that is made with a key has at most the scopes of that one")


def _no_scope(message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the key is not valid: `scopes` {message}",
        errors=[FieldError(field="scopes", message=message)],
    )
