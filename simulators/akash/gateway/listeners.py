"""Ports and certificates of the gateways, and the chain's record of the latter."""

import base64
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Query

from simulators.akash.gateway.routes import Gateway
from simulators.kit.certificates import self_signed
from simulators.kit.raw import RawServer

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld


class Gateways:
    """All that listen. Ports and certificates stay over a restart, where they can."""

    def __init__(self, world: "AkashWorld", folder: Path) -> None:
        self._world = world
        self._folder = folder
        self._servers: dict[str, RawServer] = {}
        self._ports: dict[str, int] = {}
        self._breaks, self._after = 0, 0

    def break_logs(self, *, times: int, after: int) -> None:
        """The next `times` whole logs, not those of a `tail`, end after so many lines."""
        self._breaks, self._after = times, after

    def breaks_after(self) -> int | None:
        """Where Kubernetes breaks this log off; None: it does not."""
        if self._breaks <= 0:
            return None
        self._breaks -= 1
        return self._after

    async def start(self) -> None:
        for provider in self._world.book.providers.values():
            handler = Gateway(self._world, provider.address).answer
            server = RawServer(handler, self._context(provider.address))
            server.alive = lambda provider=provider: provider.online  # type: ignore[misc]
            provider.gateway_port = await server.start(provider.gateway_port)
            self._servers[provider.address] = server
            self._ports[provider.address] = provider.gateway_port

    async def aclose(self) -> None:
        for server in self._servers.values():
            await server.aclose()

    def url(self, address: str) -> str:
        """Where a provider's gateway is."""
        return f"https://127.0.0.1:{self._ports[address]}"

    def certificate(self, address: str) -> str | None:
        """What the chain has of a provider, as PEM."""
        path = self._path(address)
        if address not in self._world.book.providers or not path.exists():
            return None
        return (
            "-----BEGIN CERTIFICATE-----"
            + path.read_text().partition("-----BEGIN CERTIFICATE-----")[2]
        )

    def _context(self, address: str) -> ssl.SSLContext:
        path = self._path(address)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(self_signed(address)))
            path.chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(path)
        return context

    def _path(self, address: str) -> Path:
        return self._folder / f"{address}.pem"


def router(world: "AkashWorld") -> APIRouter:
    """The chain's REST interface, of which only the certificates are asked for."""
    made = APIRouter()

    @made.get("/akash/cert/v1/certificates/list")
    async def certificates(owner: str = Query(alias="filter.owner")) -> Any:
        pem = world.gateways.certificate(owner)
        if pem is None:
            return {"certificates": [], "pagination": {"next_key": None, "total": "0"}}
        cert = {"state": "valid", "cert": base64.b64encode(pem.encode()).decode(), "pubkey": ""}
        valid = [{"certificate": cert, "serial": "1"}]
        return {"certificates": valid, "pagination": {"next_key": None, "total": "1"}}

    return made
