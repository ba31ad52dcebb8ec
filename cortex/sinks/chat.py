"""Notices to chats and pagers through Apprise: Slack, Matrix, Discord, ntfy and a hundred more."""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import Field, SecretStr, field_validator

from cortex.plugins.contract import Away, Plugin, PluginConfig
from cortex.plugins.notifications import Level, Notification
from cortex.sinks.levels import Threshold

if TYPE_CHECKING:
    import apprise

_LIMIT: Final = timedelta(seconds=60)
_KINDS: Final[dict[Level, str]] = {"info": "info", "warning": "warning", "error": "failure"}
_MISSING: Final = "Apprise is not installed: pip install 'cortex-orchestrator[notices]'"


class ChatConfig(PluginConfig, Threshold):
    """`[plugins.chat]`."""

    urls: tuple[SecretStr, ...] = Field(
        min_length=1, max_length=50, description="Where to, as Apprise writes it; secret."
    )

    @field_validator("urls")
    @classmethod
    def _known(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, url in enumerate(urls, 1):
            if _service(url.get_secret_value()) is None:
                raise ValueError(f"number {number} is no URL that Apprise knows")
        return urls


class ChatChannel:
    """Tells one place. Each place has a channel, so that one that is away holds up no other."""

    def __init__(self, name: str, url: SecretStr, config: ChatConfig) -> None:
        self.name = name
        self._url = url
        self._config = config

    async def send(self, note: Notification) -> None:
        """Tell it.

        Raises:
            Away: it was not told. (Apprise does not say whether trying again would help.)
        """
        if not self._config.tells(note):
            return
        service = _service(self._url.get_secret_value())
        assert service is not None
        body = note.text
        if note.job_id:
            body = f"{body}\ncortex job {note.job_id}".strip()
        told = await service.async_notify(
            title=f"Cortex: {note.title}", body=body or note.title, notify_type=_KINDS[note.level]
        )
        if not told:
            raise Away(f"{service.service_name} was not told: it refuses or is away")


class Chat(Plugin[ChatConfig]):
    """Notices to chats."""

    Config: ClassVar[type[PluginConfig]] = ChatConfig
    timeout: ClassVar[timedelta | None] = _LIMIT

    def __init__(self, config: ChatConfig) -> None:
        super().__init__(config)
        self.channels = tuple(
            ChatChannel(f"chat-{number}", url, config) for number, url in enumerate(config.urls, 1)
        )


def _service(url: str) -> "apprise.NotifyBase | None":
    try:
        import apprise  # an extra
    except ImportError:
        raise ModuleNotFoundError(_MISSING) from None
    # It logs URLs with their tokens.
    logging.getLogger("apprise").disabled = True
    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    return service if isinstance(service, apprise.NotifyBase) else None
