"""Adding, changing and removing providers.

Only workers know the types, so a configuration is checked there: it is written down encrypted, as
a draft, and a short workflow is given the draft's id. What comes back has the secrets apart.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowFailureError

from cortex.db.engine import Database, Transaction
from cortex.db.providers.managed import Draft, ProviderChanges
from cortex.db.providers.repository import StoredProvider
from cortex.domain.audit import changed_values
from cortex.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
)
from cortex.domain.events import EventType
from cortex.domain.ids import new_id
from cortex.domain.names import SECRET_MASK
from cortex.domain.rights import Principal
from cortex.domain.versions import ANY_VERSION, Expected
from cortex.schemas.providers import (
    ProviderCreate,
    ProviderTest,
    ProviderTestResult,
    ProviderUpdate,
    ProviderView,
)
from cortex.security.keyring import KeyRing
from cortex.security.places import draft_place
from cortex.services.providers.queries import ProviderRegistry
from cortex.settings import Settings
from cortex.temporal.ask import ask_workers
from cortex.temporal.contracts import (
    PROVIDER_CHECK_WORKFLOW,
    ProviderCheckInput,
    ProviderCheckResult,
)

_WAIT: Final = 25.0


class ProviderAdmin:
    """Changes providers. Those of the workers' settings are read-only here."""

    def __init__(
        self, database: Database, client: Client, registry: ProviderRegistry, settings: Settings
    ) -> None:
        self._database = database
        self._client = client
        self._registry = registry
        self._keyring = KeyRing.from_setting(settings.encryption_keys)

    async def create(self, wanted: ProviderCreate, actor: Principal) -> ProviderView:
        """Add a provider; workers take it up at once.

        Raises:
            InvalidRequest: its type is not installed, or its configuration is not valid.
            Conflict: there is one of this id.
            ServiceUnavailable: no worker could check it.
        """
        async with self._database.transaction() as tx:
            _refuse_taken(await _find(tx, wanted.id), wanted.type)
        async with self._checked(wanted.id, wanted.type, wanted.config) as draft:
            await self._store(draft, wanted, actor)
        return await self._view(wanted.id)

    async def update(
        self,
        provider_id: str,
        change: ProviderUpdate,
        actor: Principal,
        expected: Expected = ANY_VERSION,
    ) -> ProviderView:
        """Change configuration or rate limit; what runs there goes on.

        Raises:
            InvalidRequest: the configuration is not valid with the change.
            Conflict: it comes from the settings, or somebody else changed it meanwhile.
            NotFound: there is none with this id.
            PreconditionFailed: it is not at the expected version.
        """
        async with self._database.transaction() as tx:
            before = await _own(tx, provider_id)
            expected.require(str(before.version), f"provider `{provider_id}`")
        values: ProviderChanges = {}
        if "rate_limit" in change.model_fields_set:
            values["rate_limit"] = change.rate_limit
        if change.config is None:
            await self._change(before, values, actor, {})
            return await self._view(provider_id)
        async with self._checked(provider_id, before.type, change.config) as draft:
            values |= {
                "config": draft.config,
                "credentials": draft.credentials,
                "secret_fields": list(draft.secret_fields),
                "checked_at": None,  # what the next check finds counts at once
            }
            await self._change(before, values, actor, change.config)
        return await self._view(provider_id)

    async def switch(self, provider_id: str, *, on: bool, actor: Principal) -> ProviderView:
        """Let it take new jobs, or not. Leases that it holds are watched and released anyway.

        Raises:
            Conflict: it comes from the settings.
            NotFound: there is none with this id.
        """
        async with self._database.transaction() as tx:
            await tx.managed.lock(provider_id)
            before = await _own(tx, provider_id)
            if before.enabled != on:
                await tx.managed.set_enabled(provider_id, before.version, on)
                leases = await tx.leases.open_at(provider_id)
                kind = EventType.PROVIDER_ENABLED if on else EventType.PROVIDER_DISABLED
                data = {"open_leases": leases}
                await tx.events.add(kind, provider_id, data=data)
                await _audit(tx, actor, "enable" if on else "disable", provider_id, **data)
        return await self._view(provider_id)

    async def remove(
        self, provider_id: str, actor: Principal, expected: Expected = ANY_VERSION
    ) -> None:
        """Remove it with its credentials; its jobs and bills stay.

        Raises:
            Conflict: it comes from the settings, or it holds leases.
            NotFound: there is none with this id.
            PreconditionFailed: it is not at the expected version.
        """
        async with self._database.transaction() as tx:
            await tx.managed.lock(provider_id)
            provider = await tx.providers.get(provider_id)
            expected.require(str(provider.version), f"provider `{provider_id}`")
            if provider.source == "settings" and provider.configured:
                raise _read_only(provider_id)
            await tx.managed.lock_key(provider_id)
            leases = await tx.leases.open_at(provider_id)
            if leases:
                raise _holds_leases(provider, leases)
            await tx.managed.remove(provider_id)
            await tx.circuits.remove(provider_id)
            data = {"type": provider.type}
            await tx.events.add(EventType.PROVIDER_DELETED, provider_id, data=data)
            shown = _shown(provider.config, provider.secret_fields, provider.rate_limit)
            await _audit(tx, actor, "delete", provider_id, before={**data, **shown}, after={})
        self._registry.forget()

    async def test(self, provider_id: str, trial: ProviderTest) -> ProviderTestResult:
        """Open it, ask how it is and what it charges; nothing is stored.

        Raises:
            InvalidRequest: the configuration is not valid.
            NotFound: there is none with this id, and no `type` says what to try.
        """
        async with self._database.transaction() as tx:
            stored = await _find(tx, provider_id)
        if stored is None and trial.type is None:
            raise NotFound(f"there is no provider `{provider_id[:60]}`; give its `type` to try one")
        kind = trial.type or (stored.type if stored else "")
        draft_id = await self._draft(provider_id, kind, trial.config)
        try:
            answer = await self._ask(draft_id, probe=True)
        finally:
            await self._drop(draft_id)
        latency = answer.latency
        return ProviderTestResult(
            ok=answer.ok,
            message=answer.message,
            latency_ms=None if latency is None else latency // timedelta(milliseconds=1),
            network_version=answer.network_version,
            balance=answer.balance,
            prices=answer.prices,
        )

    async def _store(self, draft: Draft, wanted: ProviderCreate, actor: Principal) -> None:
        async with self._database.transaction() as tx:
            await tx.managed.lock(wanted.id)
            made = await tx.managed.create(
                draft, enabled=wanted.enabled, rate_limit=wanted.rate_limit
            )
            if not made:
                _refuse_taken(await tx.providers.get(wanted.id), wanted.type)
                raise Conflict(f"provider `{wanted.id}` was changed meanwhile; try again")
            data = {"type": wanted.type, "enabled": wanted.enabled}
            await tx.events.add(EventType.PROVIDER_CREATED, wanted.id, data=data)
            shown = _shown(draft.config or {}, draft.secret_fields, wanted.rate_limit)
            await _audit(tx, actor, "create", wanted.id, before={}, after={**data, **shown})

    async def _change(
        self,
        before: StoredProvider,
        values: ProviderChanges,
        actor: Principal,
        given: Mapping[str, Any],
    ) -> None:
        """Write new values; `given` is what was sent of the configuration, secrets among it."""
        if not values:
            return
        config = values.get("config", before.config) or {}
        secrets = values.get("secret_fields", before.secret_fields)
        old, new = changed_values(
            _shown(before.config, before.secret_fields, before.rate_limit),
            _shown(config, secrets, values.get("rate_limit", before.rate_limit)),
        )
        # That a secret is another cannot be seen: one that was sent counts as changed.
        new |= {_field(name): SECRET_MASK for name in secrets if name.split(".")[0] in given}
        data = {"fields": [*sorted(given), *(["rate_limit"] if "rate_limit" in values else [])]}
        async with self._database.transaction() as tx:
            await tx.managed.lock(before.id)
            if not await tx.managed.reconfigure(before.id, before.version, values):
                raise Conflict(f"provider `{before.id}` was changed meanwhile; look, and try again")
            await tx.events.add(EventType.PROVIDER_UPDATED, before.id, data=data)
            await _audit(tx, actor, "update", before.id, **data, before=old, after=new)

    async def _view(self, provider_id: str) -> ProviderView:
        self._registry.forget()
        return await self._registry.view(provider_id)

    @asynccontextmanager
    async def _checked(
        self, provider_id: str, type_name: str, config: Mapping[str, Any]
    ) -> AsyncIterator[Draft]:
        """The draft once a worker has found it good; it is gone afterwards."""
        draft_id = await self._draft(provider_id, type_name, config)
        try:
            await self._ask(draft_id, probe=False)
            async with self._database.transaction() as tx:
                draft = await tx.managed.draft(draft_id)
            if draft is None or draft.config is None:
                raise ServiceUnavailable("the configuration could not be checked; try again")
            yield draft
        finally:
            await self._drop(draft_id)

    async def _draft(self, provider_id: str, type_name: str, config: Mapping[str, Any]) -> str:
        draft_id = new_id("drf")
        place, what = draft_place(draft_id), "a provider's configuration"
        sealed = self._keyring.encrypt(
            {"config": json.dumps(dict(config), default=str)}, place, what=what
        )
        async with self._database.transaction() as tx:
            await tx.managed.add_draft(draft_id, provider_id, type_name, sealed)
        return draft_id

    async def _drop(self, draft_id: str) -> None:
        async with self._database.transaction() as tx:
            await tx.managed.drop_draft(draft_id)

    async def _ask(self, draft_id: str, *, probe: bool) -> ProviderCheckResult:
        """What a worker says of the draft.

        Raises:
            InvalidRequest: it is not valid; one error per field.
        """
        answer = await self._run(draft_id, probe=probe)
        if answer.errors:
            words = ", ".join(
                f"`{problem.field}` {problem.message}" for problem in answer.errors[:3]
            )
            raise InvalidRequest(f"the provider is not valid: {words}", errors=answer.errors)
        return answer

    async def _run(self, draft_id: str, *, probe: bool) -> ProviderCheckResult:
        try:
            return await ask_workers(
                self._client,
                PROVIDER_CHECK_WORKFLOW,
                ProviderCheckInput(draft_id=draft_id, probe=probe),
                workflow_id=f"provider-check-{draft_id}",
                result_type=ProviderCheckResult,
                patience=_WAIT,
            )
        except WorkflowFailureError as error:
            raise ServiceUnavailable(f"the workers could not check it: {_cause(error)}") from error


async def _find(tx: Transaction, provider_id: str) -> StoredProvider | None:
    try:
        return await tx.providers.get(provider_id)
    except NotFound:
        return None


async def _own(tx: Transaction, provider_id: str) -> StoredProvider:
    """One that may be changed here."""
    provider = await tx.providers.get(provider_id)
    if provider.source == "settings":
        raise _read_only(provider_id)
    return provider


async def _audit(
    tx: Transaction, actor: Principal, action: str, provider_id: str, **data: Any
) -> None:
    await tx.audit.add(actor, f"provider.{action}", provider_id, **data)


def _shown(
    config: Mapping[str, Any], secret_fields: Sequence[str], rate_limit: float | None
) -> dict[str, Any]:
    """What the audit log says of a provider: everything but its secrets."""
    plain = {_field(name): value for name, value in config.items()}
    masked = {_field(name): SECRET_MASK for name in secret_fields}
    return {**plain, **masked, "rate_limit": rate_limit}


def _field(name: str) -> str:
    return f"config.{name}"


def _refuse_taken(existing: StoredProvider | None, type_name: str) -> None:
    if existing is None:
        return
    if existing.source == "settings" and not existing.configured:
        if existing.type == type_name:
            return  # it has gone from the settings: it is taken over
        raise Conflict(
            f"`{existing.id}` was a provider of type `{existing.type}` in the settings of the "
            f"workers; remove it first (`cortex provider remove {existing.id}`)"
        )
    where = " in the settings of the workers" if existing.source == "settings" else ""
    raise Conflict(
        f"there is a provider `{existing.id}` already{where}; choose another id, or change it"
    )


def _read_only(provider_id: str) -> Conflict:
    return Conflict(
        f"provider `{provider_id}` comes from the settings of the workers: change it there "
        f"(`[providers.{provider_id}]` in their `cortex.toml`, or `CORTEX_PROVIDERS` in their "
        "environment) and restart them"
    )


def _holds_leases(provider: StoredProvider, leases: list[str]) -> Conflict:
    names = ", ".join(f"`{key}`" for key in leases)
    first = (
        f"`cortex provider disable {provider.id}` keeps new jobs away; "
        if provider.enabled and provider.configured
        else ""
    )
    return Conflict(
        f"provider `{provider.id}` holds leases that are not released yet: {names}. {first}"
        "remove it once they have ended, or cancel their jobs"
    )


def _cause(error: WorkflowFailureError) -> str:
    """The innermost message: what an activity said, which is for people."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause)[:500]
