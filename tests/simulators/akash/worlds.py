"""The worlds behind the recordings of a gateway, staged in the simulator."""

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from providers.akash.sdl.manifest import manifest_json, version
from simulators.akash import AkashSettings, AkashWorld
from simulators.akash.gateway import manifests
from simulators.akash.gateway.pods import Pod
from simulators.akash.model import SimDeployment, SimEscrow, SimLease
from simulators.akash.settings import OWNER
from simulators.akash.tokens import issue
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from tests.support.recordings import Answer, Recording, ask, load

# Where the real one was waited for, this much of it is enough, pings included.
_HASTE = 0.1
_OTHER = "akash1qqqotheraccountqqqqqqqqqqqqqqqqqqqqqqq"
_THREE = "printf 'line 1\\nline 2\\nline 3\\n'"
_WAITS = "; exec sleep 60"
_ODD = (
    "printf '<a href=\"x\">&</a>\\n'; "
    r"printf 'bad \377\376 utf-8\n\ncrlf\r\nprogress 1\rprogress 2\n'; "
    r"printf 'tab\tand \033[31mred\033[0m and \000 nul\n\342\200\250\303\251\360\237\230\200\n'; "
    r"printf 'last without newline'; exec sleep 60"
)


@dataclass(frozen=True)
class Staged:
    """The world behind a recording: what the service runs, what is the matter in the cluster."""

    script: str = _THREE + _WAITS
    kube: str = ""
    image: str = "busybox:1.36"
    volume: bool = False
    port: bool = False
    uris: bool = True
    wait_for: bytes | None = None
    """What its log must hold before anybody asks; None: what the script prints at once."""
    ends: bool = False
    """Whether its container has ended before anybody asks."""


def _line(size: int) -> str:
    big = f"head -c {size} /dev/zero | tr '\\0' x"
    return f"echo before; {big}; echo; echo after; exec sleep 60"


_LONG = "".join(
    f"head -c {size} /dev/zero | tr '\\0' {char}; echo; "
    for size, char in ((900, "x"), (1000, "y"), (1500, "z"), (5000, "w"))
)
_LIVE = (
    "printf 'line 1\\nline 2\\n'; sleep 0.5; echo line 3; sleep 0.5; printf 'line 4\\nline 5\\n'; "
    "sleep 0.5; printf 'no newline at the end'"
)
_SILENT = "echo line 1; sleep 3; echo line 2"

# By the number of the deployment in the recording's path; others are as `Staged()`.
_WORLDS: Mapping[str, Staged] = {
    "102": Staged(_LIVE),
    "103": Staged(_SILENT),
    "104": Staged(_line(65535), wait_for=b"after"),
    "105": Staged(_line(65536), wait_for=b"after"),
    "106": Staged(_line(200000), wait_for=b"after"),
    "1062": Staged(_line(65534), wait_for=b"after"),
    "1063": Staged(_LONG + "exec sleep 60", wait_for=b"w\n"),
    "107": Staged("printf 'line 1\\nline 2\\n'" + _WAITS),
    "108": Staged(_ODD, wait_for=b"without newline"),
    "109": Staged(image="lab/no-such:1"),
    "1091": Staged(kube="creating"),
    "110": Staged(kube="no-pods"),
    "111": Staged(kube="namespace-gone"),
    "112": Staged("echo line 1; sleep 0.5; echo line 2"),
    "114": Staged(kube="not-ready"),
    "116": Staged(kube="pod-gone"),
    "117": Staged(kube="runtime-error"),
    "1171": Staged(kube="no-pods"),
    "1172": Staged(kube="pod-failed"),
    "118": Staged(volume=True, kube="not-ready", uris=False),
    "119": Staged(kube="not-ready"),
    "120": Staged(kube="no-deployments"),
    "125": Staged(port=True),
    "126": Staged(kube="no-manifest"),
    "127": Staged(kube="no-replica-yet", uris=False),
    "130": Staged(image="registry.invalid/no-such:1"),
    "140": Staged(kube="reset"),
    "141": Staged(kube="plain-503"),
    "142": Staged(kube="reset"),
}
# Where the same number meant another moment.
_MOMENTS = {
    "logs-finished-follow": replace(Staged(_THREE), ends=True),
    "logs-client-closes": Staged("echo line 1" + _WAITS),
    "logs-live-nofollow": Staged("printf 'line 1\\nline 2\\n'" + _WAITS),
    "events-none": Staged(),
}
_ABSENT = ("999", "122", "123")


class StagedWorld(AkashWorld):
    """With deployments that nobody has paid for, and a second account."""

    def __init__(self, folder: Path) -> None:
        runs = Runs(folder / "runs")
        settings = AkashSettings(
            ready_delay=0, restart_delay=600, tick=3600, ping_every=10 * _HASTE
        )
        super().__init__(folder, Clock(), runs, settings)
        self.accounts |= {_OTHER}
        self.provider = next(iter(self.book.providers))

    async def stage(self, dseq: str, staged: Staged) -> SimLease:
        deployment = _deployment(dseq, staged)
        lease = SimLease(
            provider=self.provider, oseq=1, price=Decimal(1), created=1, made_at=time.time()
        )
        lease.delivered_at, lease.kube = 1.0, staged.kube
        deployment.leases.append(lease)
        self.book.deployments[dseq] = deployment
        await self.cluster.step(deployment, lease)
        if lease.started:
            await self._printed(deployment, lease, staged)
        return lease

    async def _printed(self, deployment: SimDeployment, lease: SimLease, staged: Staged) -> None:
        log = self.cluster.log(deployment, lease)
        wanted = staged.wait_for or (b"line 3\n" if _THREE in staged.script else b"line 1\n")
        until = time.monotonic() + 20
        while True:
            over = not staged.ends or not await self.cluster.ready(deployment, lease)
            if over and log.exists() and wanted in log.read_bytes():
                return
            assert time.monotonic() < until, f"deployment {deployment.dseq} did not come up"
            await asyncio.sleep(0.01)


def _deployment(dseq: str, staged: Staged) -> SimDeployment:
    service: dict[str, Any] = {
        "image": staged.image,
        "command": ["sh", "-c", staged.script],
        "expose": [{"port": 8080, "as": 80, "to": [{"global": True}]}],
    }
    compute: dict[str, Any] = {"cpu": {"units": 1}, "memory": {"size": "1Gi"}}
    compute["storage"] = [{"size": "1Gi"}]
    if staged.port:
        service["expose"].append({"port": 8443, "as": 8443, "to": [{"global": True}]})
    if not staged.uris:
        service["expose"] = [{"port": 8080, "as": 80, "to": [{"service": "web"}]}]
    if staged.volume:
        service["params"] = {"storage": {"data": {"mount": "/data"}}}
        data = {"name": "data", "size": "1Gi"}
        compute["storage"].append(data | {"attributes": {"persistent": True, "class": "beta3"}})
    document = {
        "version": "2.0",
        "services": {"web": service},
        "profiles": {
            "compute": {"web": {"resources": compute}},
            "placement": {"dc": {"pricing": {"web": {"denom": "uact", "amount": 1}}}},
        },
        "deployment": {"web": {"dc": {"profile": "web", "count": 1}}},
    }
    manifest = manifest_json(document)
    return SimDeployment(
        dseq=dseq,
        group="dc",
        sdl=document,
        manifest=manifest,
        hash=version(manifest),
        created=1,
        made_at=time.time(),
        escrow=SimEscrow(funds=Decimal(10**12), settled_at=1, withdrawn_at=time.time()),
    )


class TwoServices:
    """A second service beside the one that the simulator runs."""

    def __init__(self, log: Path) -> None:
        log.write_text("line 1\nline 2\n")
        self.log = log

    def __call__(self, deployment: SimDeployment) -> list[Pod]:
        return (
            [Pod("worker", "worker-0000000000-00000", self.log)] if deployment.dseq == "107" else []
        )


def _token(name: str, provider: str) -> str:
    """A token as the recording names it."""
    every = ["send-manifest", "get-manifest", "status", "logs", "events", "shell"]
    scope = [name] if name in every else every
    at = provider if name != "other provider" else "akash1someoneelse"
    leases: dict[str, Any] = {"access": "granular"}
    leases["permissions"] = [{"provider": at, "access": "scoped", "scope": scope}]
    if name in ("full", "other owner", "unknown account"):
        leases = {"access": "full"}
    owner = {"other owner": _OTHER, "unknown account": "akash1unknown"}.get(name, OWNER)
    if name == "expired":
        return issue(owner, leases, 10, at=time.time() - 60)
    if name == "not yet valid":
        return issue(owner, leases, 60, at=time.time() + 600)
    if name == "version v2":
        return issue(owner, leases, 60, version="v2")
    if name == "wrong signature":
        return issue(owner, leases, 60, secret=b"another")
    return issue(owner, leases, 10 if name == "short" else 60)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[StagedWorld]:
    world = StagedWorld(folder)
    await world.runs.start_up()
    await world.start()
    try:
        yield world
    finally:
        for deployment in world.book.deployments.values():
            for lease in deployment.leases:
                await world.cluster.end(deployment, lease)
        await world.aclose()
        await world.runs.aclose()


async def answered(world: StagedWorld, recording: Recording) -> Answer:
    """What the simulator answers in the recording's world."""
    match = re.search(r"/(?:lease|deployment)/(\d+)/", recording.request.path)
    dseq = match[1] if match else ""
    if dseq and dseq not in _ABSENT:
        staged = _MOMENTS.get(recording.case) or _WORLDS.get(dseq) or Staged()
        lease = await world.stage(dseq, staged)
        if recording.request.body is not None:
            await _await_manifest(world, dseq, lease)
    elif dseq == "122":
        world.book.deployments[dseq] = _deployment(dseq, Staged())
    headers = {}
    asked = dict(recording.request.headers).get("Authorization")
    if asked is not None and recording.request.token:
        headers["Authorization"] = f"Bearer {_token(recording.request.token, world.provider)}"
    path = recording.request.path.replace("sleep+12", "sleep+3").replace("sleep+5", "sleep+1")
    request = replace(recording.request, path=path)
    return await ask(world.gateways.url(world.provider), request, headers=headers)


async def _await_manifest(world: StagedWorld, dseq: str, lease: SimLease) -> None:
    """The lease waits for the manifest that most of these cases send."""
    lease.delivered_at = None
    body = load("akash-gateway")["manifest-put-ok"].request.body
    assert body is not None
    digest = manifests.version(json.loads(body))
    world.book.deployments[dseq].hash = base64.b64encode(digest).decode()
