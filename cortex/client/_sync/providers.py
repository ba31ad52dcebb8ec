"""The part of the blocking client that is about providers."""
# Made from _async/providers.py by `make format`; change that one.

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cortex.client._routes import providers as routes
from cortex.client._routes.call import IfMatch, only_if
from cortex.client._routes.providers import UNSET, Unset
from cortex.client.transport import Transport
from cortex.domain.providers.inspection import Inspection
from cortex.schemas.jobs import JobPage
from cortex.schemas.providers import (
    ProviderPricing,
    ProviderStatusPage,
    ProviderTestResult,
    ProviderTypeView,
    ProviderView,
)


class ProviderCalls:
    """What `Cortex` can do with providers."""

    _transport: Transport

    def providers(self) -> tuple[ProviderView, ...]:
        """Every provider: what it can do, what it costs, how it is."""
        return self._transport.call(routes.providers())

    def provider(self, provider_id: str) -> ProviderView:
        """One provider."""
        return self._transport.call(routes.provider(provider_id))

    def provider_types(self) -> tuple[ProviderTypeView, ...]:
        """The types that are installed on the workers, with the fields of their `config`."""
        return self._transport.call(routes.types())

    def create_provider(
        self,
        provider_id: str,
        type_name: str,
        config: Mapping[str, Any] | None = None,
        *,
        enabled: bool = True,
        rate_limit: float | None = None,
    ) -> ProviderView:
        """Add a provider: your account at a network. Workers take it up at once.

        Args:
            provider_id: Your name for it: lower-case letters, digits and dashes.
            type_name: Such as `akash`; `provider_types` lists them.
            config: The fields of the type, secrets in clear; they are stored encrypted.
            enabled: Whether it takes jobs.
            rate_limit: Steps per second at most.
        """
        return self._transport.call(
            routes.create(
                provider_id, type_name, config or {}, enabled=enabled, rate_limit=rate_limit
            )
        )

    def update_provider(
        self,
        provider_id: str,
        config: Mapping[str, Any] | None = None,
        *,
        rate_limit: float | Unset | None = UNSET,
        if_match: IfMatch = None,
    ) -> ProviderView:
        """Change a provider; what runs there goes on.

        Args:
            provider_id: Its id.
            config: What to change of it; None as a value removes a field.
            rate_limit: Steps per second at most; None: no limit.
            if_match: Only at this version; `LAST_SEEN`: as this client read it last.

        Raises:
            PreconditionFailed: others have changed it meanwhile.
        """
        call = routes.update(provider_id, config, rate_limit)
        return self._transport.call(only_if(call, if_match))

    def delete_provider(self, provider_id: str, *, if_match: IfMatch = None) -> None:
        """Remove a provider and its credentials; one that holds leases is refused.

        With `if_match` only at that version (`PreconditionFailed`).
        """
        return self._transport.call(only_if(routes.delete(provider_id), if_match))

    def enable_provider(self, provider_id: str) -> ProviderView:
        """Let it take new jobs."""
        return self._transport.call(routes.switch(provider_id, on=True))

    def disable_provider(self, provider_id: str) -> ProviderView:
        """Let it take no new jobs; those that run there go on."""
        return self._transport.call(routes.switch(provider_id, on=False))

    def test_provider(
        self,
        provider_id: str,
        *,
        type_name: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> ProviderTestResult:
        """Ask the network itself; nothing is stored.

        Args:
            provider_id: Its id, or the one it shall have.
            type_name: Of a provider that is not there yet.
            config: What would be changed; of a new one all of it.
        """
        return self._transport.call(routes.test(provider_id, type_name, config))

    def inspect_provider(
        self,
        provider_id: str,
        *,
        leases: bool = True,
        after: datetime | None = None,
        keys: Sequence[str] = (),
    ) -> Inspection:
        """Ask its network now what it holds; and which calls the worker made to it lately.

        Args:
            provider_id: Its id.
            leases: Whether the network is asked at all.
            after: Only calls after this.
            keys: Only calls about these leases, or about none in particular.
        """
        return self._transport.call(
            routes.inspection(provider_id, leases=leases, after=after, keys=keys)
        )

    def provider_status(
        self, provider_id: str, *, limit: int = 100, cursor: str | None = None
    ) -> ProviderStatusPage:
        """The history of its health checks, newest first."""
        return self._transport.call(routes.status(provider_id, limit, cursor))

    def provider_pricing(self, provider_id: str, *, limit: int = 100) -> ProviderPricing:
        """Its prices now, and how they changed."""
        return self._transport.call(routes.pricing(provider_id, limit))

    def provider_jobs(
        self, provider_id: str, *, limit: int = 100, cursor: str | None = None
    ) -> JobPage:
        """Jobs whose newest attempt is there, newest first."""
        return self._transport.call(routes.jobs(provider_id, limit, cursor))
