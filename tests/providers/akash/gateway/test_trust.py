"""Certificates of gateways: a public authority's, or the very one on the chain."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from websockets.asyncio.server import ServerConnection, serve

from providers.akash.config import AkashConfig
from providers.akash.console.client import Console
from providers.akash.console.wire import BidId
from providers.akash.gateway.client import Gateway
from providers.akash.market import Market
from providers.errors import Unavailable
from simulators.kit.serve import serving

PROVIDER = "akash1provider"
LEASE = BidId(dseq="1", gseq=1, oseq=1, provider=PROVIDER)


def certificate(folder: Path, name: str) -> tuple[Path, str]:
    """A self-made certificate as providers have them, named after the account: file and PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PROVIDER)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(secret + pem)
    return path, pem.decode()


async def answer(socket: ServerConnection) -> None:
    assert socket.request is not None
    assert socket.request.headers["Authorization"] == "Bearer token"
    await socket.send('{"name":"job-0","message":"hello"}')


def server_context(own: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return context


@asynccontextmanager
async def network(
    folder: Path, on_chain: list[str], own: Path | ssl.SSLContext
) -> AsyncIterator[AkashConfig]:
    """A gateway with its own certificate, and a chain that knows some."""
    context = server_context(own) if isinstance(own, Path) else own
    async with serve(answer, "127.0.0.1", 0, ssl=context) as gateway:
        port = next(iter(gateway.sockets)).getsockname()[1]
        app = FastAPI()

        @app.get("/v1/providers")
        async def providers() -> Any:
            return [{"owner": PROVIDER, "hostUri": f"https://127.0.0.1:{port}", "isOnline": True}]

        @app.post("/v1/create-jwt-token")
        async def token() -> Any:
            return {"data": {"token": "token"}}

        @app.get("/akash/cert/v1/certificates/list")
        async def certificates() -> Any:
            encoded = [base64.b64encode(pem.encode()).decode() for pem in on_chain]
            return {"certificates": [{"certificate": {"cert": text}} for text in encoded]}

        async with serving(app) as url:
            yield AkashConfig.model_validate({"api_key": "k", "console_url": url, "chain_url": url})


@asynccontextmanager
async def talking(config: AkashConfig) -> AsyncIterator[Gateway]:
    console = Console(config)
    gateway = Gateway(console, config, Market(console, config))
    try:
        yield gateway
    finally:
        await gateway.aclose()
        await console.aclose()


async def hello(config: AkashConfig) -> list[str]:
    async with talking(config) as gateway:
        first = [message.text async for message in gateway.logs(LEASE)]
        again = [message.text async for message in gateway.logs(LEASE)]
        assert first == again
        return first


async def test_the_one_on_the_chain_is_accepted(tmp_path: Path) -> None:
    own, pem = await asyncio.to_thread(certificate, tmp_path, "own")
    _, old = await asyncio.to_thread(certificate, tmp_path, "old")
    async with network(tmp_path, [old, pem], own) as config:
        assert await hello(config) == ["hello"]


async def test_another_one_is_not(tmp_path: Path) -> None:
    own, _ = await asyncio.to_thread(certificate, tmp_path, "own")
    _, other = await asyncio.to_thread(certificate, tmp_path, "other")
    async with network(tmp_path, [other], own) as config:
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await hello(config)


async def test_a_new_one_is_accepted_as_soon_as_the_chain_has_it(tmp_path: Path) -> None:
    """Though the old one was good a moment ago, and is kept for minutes."""
    own, pem = await asyncio.to_thread(certificate, tmp_path, "own")
    new, new_pem = await asyncio.to_thread(certificate, tmp_path, "new")
    on_chain, context = [pem], server_context(own)
    async with network(tmp_path, on_chain, context) as config, talking(config) as gateway:
        assert [message.text async for message in gateway.logs(LEASE)] == ["hello"]
        context.load_cert_chain(new)
        with pytest.raises(Unavailable, match="nor the one on the chain"):
            [message async for message in gateway.logs(LEASE)]
        on_chain[:] = [new_pem]
        assert [message.text async for message in gateway.logs(LEASE)] == ["hello"]


async def test_none_on_the_chain(tmp_path: Path) -> None:
    own, _ = await asyncio.to_thread(certificate, tmp_path, "own")
    async with network(tmp_path, [], own) as config:
        with pytest.raises(Unavailable, match="no valid certificate"):
            await hello(config)


async def test_public_authorities_only(tmp_path: Path) -> None:
    own, pem = await asyncio.to_thread(certificate, tmp_path, "own")
    async with network(tmp_path, [pem], own) as config:
        strict = config.model_copy(update={"gateway_certificates": "public"})
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await hello(strict)
