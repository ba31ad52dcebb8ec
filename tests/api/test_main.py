"""`python -m api` as an operator runs it."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx

from cortex.embedded.config import free_ports
from cortex.settings import Settings
from tests.api.support import AUTH, KEY, NOWHERE
from tests.security.vault_server import FakeVault, serving
from tests.support import patience


async def start(**env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "api",
        env={**os.environ, **env},
        cwd=Path(__file__).parents[2],
        stderr=asyncio.subprocess.PIPE,
    )


async def test_starts_serves_and_ends_with_open_streams(
    settings: Settings, providers: None, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    process = await start(
        CORTEX_DATABASE__URL=settings.database.url.get_secret_value(),
        CORTEX_TEMPORAL__ADDRESS=NOWHERE,
        CORTEX_API__KEY=KEY,
        CORTEX_API__PORT=str(port),
        CORTEX_DATA_DIR=str(tmp_path),
    )
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=AUTH, trust_env=False
        ) as client:
            await live(client)
            headers = {"accept": "text/event-stream"}
            async with client.stream("GET", "/api/v1/events", headers=headers) as answer:
                chunks = answer.aiter_bytes()
                assert await anext(chunks) == b": connected\n\n"
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(patience(10)):
                    async for _ in chunks:
                        pass
            async with asyncio.timeout(patience(10)):
                _, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"api.start", "api.end"} <= {line["event"] for line in lines}
    assert all(line["level"] and line["timestamp"] for line in lines)


async def test_refuses_an_open_address_without_a_key() -> None:
    process = await start(CORTEX_API__HOST="0.0.0.0")
    async with asyncio.timeout(patience(60)):
        _, log = await process.communicate()
    assert process.returncode == 1
    assert b"CORTEX_API__KEY" in log


async def test_names_a_bad_setting() -> None:
    process = await start(CORTEX_API__PORT="99999")
    async with asyncio.timeout(patience(60)):
        _, log = await process.communicate()
    assert process.returncode == 1
    assert b"`api.port`" in log


async def test_a_key_that_vault_opens(settings: Settings, providers: None, tmp_path: Path) -> None:
    """It is needed at the start only: what runs has the key, and a start without it says so."""
    (port,) = free_ports(1)
    with serving(FakeVault()) as vault:
        (tmp_path / "token").write_text("root-token")
        given = {
            "CORTEX_DATABASE__URL": settings.database.url.get_secret_value(),
            "CORTEX_TEMPORAL__ADDRESS": NOWHERE,
            "CORTEX_API__KEY": KEY,
            "CORTEX_API__PORT": str(port),
            "CORTEX_DATA_DIR": str(tmp_path),
            "CORTEX_ENCRYPTION_KEYS": f"k2:{vault.wrap(os.urandom(32))}",
            "CORTEX_KMS__PATIENCE": "1s",
            "CORTEX_KMS__VAULT__ADDRESS": vault.url,
            "CORTEX_KMS__VAULT__TOKEN_FILE": str(tmp_path / "token"),
        }
        process = await start(**given)
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, headers=AUTH, trust_env=False) as client:
            await live(client)
            asked = len(vault.asked)
            vault.sealed = True
            try:
                for method in ("PUT", "GET"):
                    body = {"value": "v"} if method == "PUT" else None
                    answer = await client.request(method, "/api/v1/secrets/t", json=body)
                    assert answer.status_code == 200, answer.text
                rotation = (await client.get("/api/v1/secrets/rotation")).json()
            finally:
                process.terminate()
                await process.communicate()
        assert (rotation["newest"], rotation["lost"], len(vault.asked)) == ("k2", 0, asked)
        process = await start(**given)
        async with asyncio.timeout(patience(60)):
            _, log = await process.communicate()
    assert process.returncode == 1
    assert b"the API cannot start: the encryption key `k2` cannot be opened" in log
    assert b"Vault is sealed" in log


async def live(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(patience(60)):
        while True:
            try:
                if (await client.get("/health/live")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
