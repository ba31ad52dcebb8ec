"""Whom to believe at a provider's gateway.

Most gateways have a certificate of their own making, which the chain knows. A public authority is
tried first; else the certificate must be the very one that the provider has put on the chain.
Never is one accepted unseen.
"""

import base64
import binascii
import ssl
import time
from datetime import timedelta
from functools import cache
from typing import Any

from providers.akash.config import AkashConfig
from providers.errors import Unavailable
from providers.http import HttpClient, Refused

_KEPT = timedelta(minutes=10).total_seconds()
_PARTIAL_CHAIN = 0x80000  # the certificate itself is the anchor, also where it is no authority


class ChainCertificates:
    """TLS contexts that accept what the chain says, one for each provider."""

    def __init__(self, config: AkashConfig) -> None:
        self._url = config.chain_url
        self._http: HttpClient | None = None
        self._made: dict[str, tuple[float, ssl.SSLContext]] = {}

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def context(self, provider: str, *, fresh: bool = False) -> ssl.SSLContext:
        """Accepts the certificates that this provider has on the chain, and no other; `fresh`
        where the ones known from before are not good any more.

        Raises:
            Unavailable: the chain does not answer, or has none.
        """
        at, context = self._made.get(provider, (0.0, None))
        if context is None or fresh or time.monotonic() - at > _KEPT:
            context = pinned(await self._certificates(provider))
            self._made[provider] = (time.monotonic(), context)
        return context

    async def _certificates(self, provider: str) -> list[str]:
        if self._http is None:  # most accounts never need it
            self._http = HttpClient(self._url, who="the Akash chain")
        params = {"filter.owner": provider, "filter.state": "valid", "pagination.limit": 20}
        try:
            raw = await self._http.get("/akash/cert/v1/certificates/list", params=params)
        except Refused as refused:
            raise Unavailable(str(refused)) from None
        certificates = _pems(raw)
        if not certificates:
            raise Unavailable(f"the chain has no valid certificate of provider {provider}")
        return certificates


@cache
def public() -> ssl.SSLContext:
    """Accepts what public authorities have signed."""
    return ssl.create_default_context()


def pinned(pems: list[str]) -> ssl.SSLContext:
    """Accepts exactly these certificates; their names are account addresses, not hosts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(_PARTIAL_CHAIN)
    for pem in pems:
        context.load_verify_locations(cadata=pem)
    return context


def _pems(raw: Any) -> list[str]:
    pems = []
    for entry in raw.get("certificates") or () if isinstance(raw, dict) else ():
        try:
            text = base64.b64decode(entry["certificate"]["cert"]).decode()
        except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
            continue
        if text.startswith("-----BEGIN CERTIFICATE-----"):
            pems.append(text)
    return pems
