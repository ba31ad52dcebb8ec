"""A real yagna daemon on loopback, with its own data folder and a chain that is not there."""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

from tests.providers.golem.real.chain import FakeChain

PLATFORM = "erc20-hoodi-tglm"
_PATIENCE = 30
# What the driver needs of one network; its own default names servers that are not asked here.
_PAYMENTS = """
[engine]
service-sleep = 5
process-interval = 5
process-interval-after-error = 5
process-interval-after-no-gas-or-token-start = 5
process-interval-after-no-gas-or-token-increase = 1.5
process-interval-after-no-gas-or-token-max = 10
process-interval-after-send = 5
report-alive-interval = 300
gather-interval = 5
gather-at-start = true
mark-as-unrecoverable-after-seconds = 3600
ignore-deadlines = false
automatic-recover = false
gas-left-warning-limit = 100000

[chain.hoodi]
chain-name = "Hoodi"
chain-id = 560048
currency-symbol = "tETH"
priority-fee = 0.000001
max-fee-per-gas = 20.0
transaction-timeout = 100
token = { address = "0x55555555555556AcFf9C332Ed151758858bd7a26", symbol = "tGLM" }
multi-contract = { address = "0x222222222220C9269Cfb43eD434888F604d1dC21", max-at-once = 10 }
confirmation-blocks = 0
block-explorer-url = "http://127.0.0.1"
external-source-check-interval = 300

[[chain.hoodi.rpc-endpoints]]
endpoints = "CHAIN"
priority = 0
max-timeout-ms = 5000
verify-interval-secs = 60
allowed-head-behind-secs = 120
"""


def yagna_binary() -> Path | None:
    """The daemon of the wheel `golem-node`, or one on the path; None where there is none."""
    beside = Path(sysconfig.get_path("scripts")) / "yagna"
    if beside.exists():
        return beside
    binary = shutil.which("yagna")
    return Path(binary) if binary else None


@dataclass(frozen=True)
class Daemon:
    """A running daemon with two identities: the one that asks and the one that provides."""

    url: str
    folder: Path
    requestor_key: str
    provider_key: str
    requestor: str
    provider: str
    bus: Path
    pid: int

    def client(self, key: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60)


@asynccontextmanager
async def running_daemon(folder: Path, chain: FakeChain) -> AsyncIterator[Daemon]:
    """Start a daemon in `folder`, make its second identity, stop it whatever happens."""
    binary = yagna_binary()
    if binary is None:
        raise FileNotFoundError("yagna is not installed")
    key = secrets.token_hex(16)
    env = _environment(folder, chain, key)
    (folder / "config-payments.toml").write_text(_PAYMENTS.replace("CHAIN", chain.url))
    async with _serving(binary, env, folder):
        await _identity(env["YAGNA_API_URL"], key)
        provider, provider_key = await _second_identity(binary, env)
    # A daemon routes messages between its own identities only if it had them when it started.
    async with _serving(binary, env, folder) as pid:
        yield Daemon(
            url=env["YAGNA_API_URL"],
            folder=folder,
            requestor_key=key,
            provider_key=provider_key,
            requestor=await _identity(env["YAGNA_API_URL"], key),
            provider=provider,
            bus=folder / "gsb.sock",
            pid=pid,
        )


@asynccontextmanager
async def _serving(binary: Path, env: dict[str, str], folder: Path) -> AsyncIterator[int]:
    with (folder / "yagna.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            binary, "service", "run", "--disable-metrics-push", "--log-dir", "",
            env=env, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield process.pid
        finally:
            await _stop(process)


def _environment(folder: Path, chain: FakeChain, key: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "YAGNA_DATADIR": str(folder),
        "GSB_URL": f"unix:{folder / 'gsb.sock'}",
        "YAGNA_API_URL": f"http://127.0.0.1:{_free_port(socket.SOCK_STREAM)}",
        "YAGNA_AUTOCONF_APPKEY": key,
        "YA_NET_RELAY_HOST": "127.0.0.1:9",
        "YA_NET_BIND_URL": f"udp://127.0.0.1:{_free_port(socket.SOCK_DGRAM)}",
        "YA_CONSENT_STATS": "deny",
        "HOODI_GETH_ADDR": chain.url,
        "RUST_LOG": "info",
    }


async def _identity(url: str, key: str) -> str:
    headers = {"authorization": f"Bearer {key}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers) as client,
        asyncio.timeout(_PATIENCE),
    ):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.get("/me")
                if answer.status_code == 200:
                    return str(answer.json()["identity"])
            await asyncio.sleep(0.1)


async def _second_identity(binary: Path, env: dict[str, str]) -> tuple[str, str]:
    made = await _command(binary, env, "id", "create", "prov", "--no-password", "--json")
    listed = orjson.loads(made)
    node = str((listed.get("Ok") or listed)["nodeId"])
    text = await _command(binary, env, "app-key", "create", "provkey", "--id", node, "--json")
    return node, str(orjson.loads(text))


async def _command(binary: Path, env: dict[str, str], *words: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        binary, *words, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"yagna {' '.join(words)}: {error.decode()[-500:]}")
    return out


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
