"""Chats of single persons, through Apprise: services that are known, or hosts that are public.

Whoever saves one decides where this server connects to, so that it may lead to no server of ours
(SSRF), as a webhook may not. Apprise connects by itself: what holds is that the host's addresses
are looked at before each message, that redirects are not followed, and that TLS must verify, so
that a name whose addresses change in between leads to nobody who has no certificate for it.
"""

import asyncio
import ipaddress
import logging
from typing import TYPE_CHECKING, Any, Final

from cortex.db.messages import ClaimedMessage
from cortex.domain.messages import Content
from cortex.notices.deliverer import TryAgain
from cortex.webhooks.addresses import Refused, Resolve, Rules, addresses_of, check_url, look_up

if TYPE_CHECKING:
    import apprise

MISSING: Final = "this server has no Apprise: pip install 'cortex-orchestrator[notices]'"
_SERVICES: Final = frozenset({"discord", "pover", "slack", "tgram"})
"""They lead to the service itself, whatever stands in the URL."""
_SECURE: Final = frozenset({"gotifys", "jsons", "mmosts", "ntfys", "rockets"})
_PLAIN: Final = frozenset({"gotify", "json", "mmost", "ntfy", "rocket"})
_NTFY: Final = frozenset({"ntfy", "ntfys"})
"""With a topic alone they lead to ntfy.sh."""
KNOWN: Final = tuple(sorted(_SERVICES | _SECURE | _PLAIN))
_PORTS: Final = {"https": 443, "http": 80}


class Chats:
    """Checks chats and writes to them."""

    def __init__(self, rules: Rules, *, resolve: Resolve = look_up) -> None:
        self._rules = rules
        self._resolve = resolve

    async def check(self, url: str) -> str:
        """The name of the service that a URL leads to.

        Raises:
            Refused: it is none, or one that may not be written to; the text does not show it.
        """
        service = await asyncio.to_thread(_service, url)
        await self._check_host(service, url)
        return str(service.service_name)

    async def send(self, message: ClaimedMessage, content: Content) -> None:
        """Write to a chat.

        Raises:
            TryAgain: it does not take it. (Apprise does not say whether that would help.)
            Refused: it may not be written to.
        """
        service = await asyncio.to_thread(_service, content.to)
        try:
            await self._check_host(service, content.to)
        except OSError as error:
            raise TryAgain(f"the host of the chat has no address: {error.strerror}") from None
        told = await service.async_notify(title=content.subject, body=content.text)
        if not told:
            raise TryAgain(f"{service.service_name} was not told: it refuses or is away")

    async def _check_host(self, service: "apprise.NotifyBase", url: str) -> None:
        scheme = _scheme(url)
        given: Any = service  # each has attributes of its own
        if scheme in _SERVICES or (scheme in _NTFY and given.mode == "cloud"):
            return
        web = "https" if scheme in _SECURE else "http"
        host = str(given.host)
        if web == "http" and not _is_literal(host):
            # A name could lead elsewhere a moment later, and nothing would prove who answers.
            raise Refused(f"must begin with `{scheme}s://`: without TLS only addresses may be used")
        shown = f"[{host}]" if ":" in host else host
        target = check_url(f"{web}://{shown}:{given.port or _PORTS[web]}/", self._rules)
        await addresses_of(target, self._rules, self._resolve)


def _service(url: str) -> "apprise.NotifyBase":
    try:
        import apprise  # an extra
    except ImportError:
        raise Refused(f"cannot be used: {MISSING}") from None
    # It logs URLs with their tokens.
    logging.getLogger("apprise").disabled = True
    if _scheme(url) not in KNOWN:
        raise Refused(f"must begin with one of {', '.join(f'{name}://' for name in KNOWN)}")
    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if not isinstance(service, apprise.NotifyBase):
        raise Refused("is no URL that Apprise knows")
    service.redirects = False
    service.verify_certificate = True
    return service


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
