"""Checks drafts of provider configurations: only here the types are known.

A draft comes encrypted and by its id, so that no secret gets into a workflow's history. Every
text that goes back is free of its secrets too: networks and libraries like to repeat them.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from pydantic import ValidationError
from temporalio import activity

from activities.runtime.builder import Builder
from cortex.db.engine import Database
from cortex.db.providers.managed import Draft
from cortex.domain.errors import CortexError, FieldError, InvalidRequest, NotFound, field_errors
from cortex.domain.units import format_duration
from cortex.security.places import draft_place, provider_place
from cortex.settings import Settings
from cortex.temporal.contracts import ProviderCheckInput, ProviderCheckResult
from providers.errors import AuthenticationFailed, ProviderError
from providers.registry import AnyProvider, provider_class
from providers.secrets import join, scrubbed, secret_fields, shown, split

_log = structlog.get_logger(__name__)
_PATIENCE = timedelta(seconds=20)


class DraftActivities:
    def __init__(self, database: Database, settings: Settings, builder: Builder) -> None:
        self._database = database
        self._settings = settings
        self._builder = builder

    @activity.defn
    async def check_draft(self, checked: ProviderCheckInput) -> ProviderCheckResult:
        """Validate a draft and tell its secrets from the rest; with `probe`, ask the network."""
        async with self._database.reading() as tx:
            draft = await tx.managed.draft(checked.draft_id)
        if draft is None:
            raise NotFound("the configuration to be checked is gone; try again")
        whole = await self._whole(draft)
        try:
            kind = provider_class(draft.type).Config
        except InvalidRequest as error:
            return _refused([FieldError(field="type", message=error.detail)])
        try:
            config = kind.model_validate(whole)
        except ValidationError as error:
            secret = secret_fields(kind)
            return _refused([_safe(problem, whole, secret) for problem in field_errors(error)])
        public, secrets = split(config, whole)
        if not checked.probe:
            return await self._keep(draft, public, secrets)
        provider = self._builder.make(draft.provider_id, draft.type, whole)
        result = await _probe(provider)
        return result.model_copy(update={"message": scrubbed(result.message, secrets)})

    async def _whole(self, draft: Draft) -> dict[str, Any]:
        """The configuration with its secrets: what is stored, and on top what is to change."""
        sealed = self._builder.keyring.decrypt(draft.sealed, draft_place(draft.id))
        changes: dict[str, Any] = json.loads(sealed["config"])
        async with self._database.reading() as tx:
            stored = await tx.managed.find(draft.provider_id)
        base: dict[str, Any] = {}
        own = self._settings.providers.get(draft.provider_id)
        if stored is not None and stored.type == draft.type:
            secrets = self._builder.secrets_of(stored.id, stored.credentials)
            base = join(stored.config, secrets)
        elif own is not None and own.type == draft.type and stored is None:
            base = own.config()
            base.pop("enabled", None)
        return merged(base, changes)

    async def _keep(
        self, draft: Draft, public: dict[str, Any], secrets: dict[str, str]
    ) -> ProviderCheckResult:
        sealed = None
        if secrets:
            place = provider_place(draft.provider_id)
            sealed = self._builder.keyring.encrypt(secrets, place, what="credentials")
        async with self._database.transaction() as tx:
            await tx.managed.checked(
                draft.id, config=public, credentials=sealed, secret_fields=shown(secrets)
            )
        return ProviderCheckResult()


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7386): null removes, objects are merged, all else replaces."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


async def _probe(provider: AnyProvider) -> ProviderCheckResult:
    """Open it, ask how it is and what it charges, close it."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            await provider.initialize()
            asked = time.monotonic()
            network = await provider.network_status()
            latency = network.latency or timedelta(seconds=time.monotonic() - asked)
            prices = await provider.pricing()
        return ProviderCheckResult(
            ok=network.reachable,
            message=network.message or ("" if network.reachable else "it cannot be reached"),
            latency=latency,
            network_version=network.version,
            balance=network.balance,
            prices=prices,
        )
    except AuthenticationFailed as error:
        why = f"the network refuses the credentials: {error}"
    except (ProviderError, CortexError) as error:
        why = str(error)
    except TimeoutError:
        why = f"it did not answer within {format_duration(_PATIENCE)}"
    except Exception as error:
        _log.exception("provider.bug", provider=provider.id)
        why = f"internal error ({type(error).__name__}); the worker's log has the trace"
    finally:
        try:
            await provider.aclose()
        except Exception:
            _log.exception("provider.close", provider=provider.id)
    took = timedelta(seconds=time.monotonic() - began)
    return ProviderCheckResult(ok=False, message=why, latency=took)


def _refused(errors: list[FieldError]) -> ProviderCheckResult:
    return ProviderCheckResult(ok=False, errors=tuple(errors))


def _safe(error: FieldError, whole: Mapping[str, Any], secret: tuple[str, ...]) -> FieldError:
    """Validators may repeat what they were given: what stands where secrets belong is masked."""
    texts = {place: json.dumps(_at(whole, place.split("."))) for place in secret}
    return FieldError(
        field=f"config.{error.field}" if error.field != "spec" else "config",
        message=scrubbed(error.message, texts),
    )


def _at(value: Any, place: list[str]) -> Any:
    """What stands at a place, or above it if there is no way down: it may not be well-formed."""
    for index, part in enumerate(place):
        if part == "*" and isinstance(value, list | Mapping):
            items = value if isinstance(value, list) else list(value.values())
            return [_at(each, place[index + 1 :]) for each in items]
        if not isinstance(value, Mapping):
            return value
        value = value.get(part)
    return value
