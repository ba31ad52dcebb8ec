"""The providers of one worker: made from the settings, opened when they can be, kept current."""

import asyncio
import contextlib
from datetime import timedelta

import structlog

from cortex.db.engine import Database
from cortex.db.providers import ProviderStatus
from cortex.domain.errors import CortexError, DatabaseUnavailable
from cortex.domain.events import EventType
from cortex.domain.offers import PriceSheet
from cortex.settings import Settings
from providers.dropbox import DropBox
from providers.errors import ProviderError, Unavailable
from providers.registry import AnyProvider, make_provider

_log = structlog.get_logger(__name__)
_REFRESH = timedelta(seconds=30)
_FIRST_RETRY = timedelta(seconds=2)
# A network that hangs must keep neither the others nor the worker's start waiting.
_PATIENCE = 15.0


def drop_box(settings: Settings) -> DropBox | None:
    """The drop box that jobs leave results in, where one is configured."""
    drop = settings.drop
    if drop.secret is None:
        return None
    url = drop.url or f"http://{settings.api.host}:{settings.api.port}"
    secret = drop.secret.get_secret_value().encode()
    return DropBox(url, secret, public_url=drop.public_url)


class Fleet:
    """Knows which provider can be used now.

    A provider whose network is away at start is tried again until it answers; its jobs wait.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._providers: dict[str, AnyProvider] = {}
        self._ready: set[str] = set()
        self._problems: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        for provider_id, entry in settings.providers.items():
            if entry.enabled:
                config = entry.config()
                if entry.type in ("local", "render"):
                    folder = settings.data_dir / "providers" / provider_id
                    config.setdefault("state_dir", str(folder))
                provider = make_provider(provider_id, entry.type, config)
                provider.drop = drop_box(settings)
                self._providers[provider_id] = provider

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._providers)

    def get(self, provider_id: str) -> AnyProvider:
        """A provider that is open.

        Raises:
            Unavailable: it is not configured in this worker, or its network is away.
        """
        if provider_id not in self._providers:
            raise Unavailable(f"provider `{provider_id}` is not configured in this worker")
        if provider_id not in self._ready:
            why = self._problems.get(provider_id, "it is being opened")
            raise Unavailable(f"provider `{provider_id}` cannot be used now: {why}")
        return self._providers[provider_id]

    async def start(self) -> None:
        """Open what can be opened, write it to the database, and go on doing so."""
        await self._refresh_all()
        self._task = asyncio.create_task(self._keep_current(), name="fleet")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for provider in self._providers.values():
            with contextlib.suppress(Exception):
                await provider.aclose()

    async def _keep_current(self) -> None:
        while True:
            waiting = len(self._ready) < len(self._providers)
            await asyncio.sleep((_FIRST_RETRY if waiting else _REFRESH).total_seconds())
            try:
                await self._refresh_all()
            except DatabaseUnavailable as error:
                _log.warning("fleet.database_away", error=error.detail)
            except Exception:  # it must go on: offline providers are opened here
                _log.exception("fleet.bug")

    async def _refresh_all(self) -> None:
        await asyncio.gather(*(self._refresh(provider) for provider in self._providers.values()))
        async with self._database.transaction() as tx:
            await tx.providers.disable_others(list(self._providers))

    async def _refresh(self, provider: AnyProvider) -> None:
        status, message = await self._state(provider)
        usable = provider.id in self._ready
        prices = await self._prices(provider) if usable else None
        async with self._database.transaction() as tx:
            changed = await tx.providers.register(
                provider.id,
                provider.type_name,
                status=status,
                message=message,
                capabilities=provider.capabilities() if usable else None,
                prices=prices,
            )
            if changed:
                data = {"status": status, "message": message}
                await tx.events.add(EventType.PROVIDER_STATUS_CHANGED, provider.id, data=data)

    async def _prices(self, provider: AnyProvider) -> PriceSheet | None:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await provider.pricing()
        except (ProviderError, TimeoutError):
            return None
        except Exception:
            _log.exception("provider.pricing", provider=provider.id)
            return None

    async def _state(self, provider: AnyProvider) -> tuple[ProviderStatus, str]:
        try:
            async with asyncio.timeout(_PATIENCE):
                if provider.id not in self._ready:
                    await provider.initialize()
                    self._ready.add(provider.id)
                network = await provider.network_status()
            return ("online" if network.reachable else "offline"), network.message
        except (ProviderError, CortexError) as error:
            why = str(error)
        except TimeoutError:
            why = f"it did not answer within {_PATIENCE:g} s"
        except Exception as error:
            _log.exception("provider.bug", provider=provider.id)
            why = f"internal error ({type(error).__name__})"
        self._problems[provider.id] = why
        return "offline", why
