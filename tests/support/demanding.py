"""Jobs that ask something awkward of a network, and whether it says so before it is asked to run.

What a provider's capabilities let through, its `prepare` must not refuse for the spec's sake; what
they object to must be said with the name of a field.
"""

import asyncio
import random
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from cortex.domain.ids import lease_key, new_id
from cortex.domain.spec import JobSpec
from providers.errors import InvalidSpec, ProviderError, Unsuitable
from providers.registry import AnyProvider

_NOISE = random.Random(7).randbytes(60_000).hex()
_BIG = "x" * 120_000
_QUOTES = "'" * 40_000

JOBS: dict[str, dict[str, Any]] = {
    "no command": {"command": None},
    "args alone": {"command": None, "args": ["-c", "true"]},
    "a service": {"kind": "service"},
    "a service without a command": {"kind": "service", "command": None},
    "a service with args alone": {"kind": "service", "command": None, "args": ["serve"]},
    "a service with a workdir alone": {"kind": "service", "command": None, "workdir": "/srv"},
    "outputs without a command": {"command": None, "outputs": ["out"]},
    "secrets without a command": {"command": None, "secret_env": {"TOKEN": "hush"}},
    "outputs": {"outputs": ["out"]},
    "secrets": {"secret_env": {"TOKEN": "hush"}},
    "UDP": {"ports": [{"port": 53, "protocol": "udp"}]},
    "a volume to keep": {"volumes": [{"name": "a", "path": "/a", "persistent": True}]},
    "a volume at the root": {"volumes": [{"name": "a", "path": "/"}]},
    "a volume where marks are": {"volumes": [{"name": "a", "path": "/run/cortex"}]},
    "a large volume": {"volumes": [{"name": "a", "path": "/a", "size": "33TiB"}]},
    "a GPU of AMD": {"resources": {"gpu": {"vendor": "amd"}}},
    "25 GPUs": {"resources": {"gpu": {"count": 25}}},
    "2 GPUs": {"resources": {"gpu": {"count": 2}}},
    "a line separator": {"args": ["a\u2028b"]},
    "a line separator in a path": {"outputs": ["a\u2029b"]},
    "text beyond ASCII": {"env": {"NAME": "Grüße"}},
    "the same without a command": {"command": None, "env": {"NAME": "Grüße"}},
    "an odd name and an odd program": {"command": ["a=b"], "env": {"a.b": "1"}},
    "an odd name": {"env": {"a.b": "1"}},
    "an odd name with all it may hold": {"env": {"a.b": "x" * (131_072 - 5)}},
    "JSON": {"env": {"LIST": "[1]"}},
    "JSON without a command": {"command": None, "env": {"LIST": "[1]"}},
    "JSON in args alone": {"command": None, "args": ["{}"]},
    "a literal without a command": {"command": None, "env": {"A": "%%global.x%%"}},
    "large JSON": {"env": {"LIST": f"[{_BIG}]"}},
    "quotes in JSON": {"env": {"LIST": f"[{_QUOTES}]"}},
    "a digest": {"image": f"busybox@sha256:{'a' * 64}"},
    "an image that is no reference": {"image": "busybox:1::2"},
    "a large secret": {"secret_env": {"TOKEN": "x" * 17_000}},
    "a secret of dollars": {"secret_env": {"TOKEN": "$" * 9_000}},
    "a large secret with an odd name": {"secret_env": {"a.b": "x" * 16_382}},
    "a large variable that looks sealed": {"env": {"A": "ac-" + "x" * 17_000}},
    "many secrets": {"secret_env": {f"S{number}": "1" for number in range(101)}},
    "a large variable": {"env": {"DATA": _BIG}},
    "a large word": {"args": [_BIG]},
    "large words and variables": {"args": [_BIG], "env": {"DATA": _BIG}},
    "quotes": {"args": [_QUOTES], "env": {"DATA": _QUOTES}},
    "beyond ASCII, large": {"env": {"DATA": "\u00fc" * 20_000}},
    "noise": {"env": {"DATA": _NOISE}},
    "characters that are written long": {"args": ["\x01" * 110_000], "env": {"A": "\x01" * 90_000}},
    "dollars": {"args": ["$" * 130_000], "env": {"A": "$" * 130_000}},
    "faces": {"args": ["\U0001f600" * 32_000], "env": {"A": "\U0001f600" * 32_000}},
    "a workdir of the system": {"workdir": "/etc/here"},
    "a workdir": {"workdir": "/srv/here"},
    "a high price": {"placement": {"max_price": "7000 USD"}},
    "a price of next to nothing": {"placement": {"max_price": "0.0000000001 USD"}},
}
RENDERS: dict[str, dict[str, Any]] = {
    "frames": {},
    "a scene on the worker's disk": {"scene": "/scenes/a.blend"},
    "a scene in a bucket": {"scene": "s3://bucket/a.blend"},
    "large chunks": {"frames": "1-200", "chunk": 101},
    "many chunks": {"frames": "1-201", "chunk": 1},
    "scattered frames": {
        "frames": ",".join(str(n * n * 7 + 100_000) for n in range(90)), "chunk": 90,
    },
}  # fmt: skip


def jobs(image: str | None, *, without: Collection[str] = ()) -> Iterator[tuple[str, JobSpec]]:
    """All of them but some that a spec may say, in this image."""
    for name, changes in JOBS.items():
        if name in without:
            continue
        usual = {"image": image, "command": ["true"], "duration": "5m"}
        wanted = {key: value for key, value in {**usual, **changes}.items() if value is not None}
        with suppress(ValueError):  # without an image some of them are no jobs
            yield name, JobSpec.model_validate(wanted)


def renders(scene: str) -> Iterator[tuple[str, JobSpec]]:
    """Render jobs of this scene, or of those they name."""
    for name, changes in RENDERS.items():
        render = {"scene": scene, "frames": "1-2", **changes}
        yield name, JobSpec.model_validate({"render": render, "duration": "5m"})


async def refused(provider: AnyProvider, spec: JobSpec) -> tuple[list[str], str]:
    """What its capabilities say against a job, and with what its `prepare` refuses it."""
    objections = provider.capabilities().objections(spec)
    if objections:
        return objections, ""
    key = lease_key(new_id("job"), 1)
    try:
        await provider.prepare(spec, key)
    except (InvalidSpec, Unsuitable) as error:
        return [], f"{type(error).__name__}: {error}"
    except ProviderError:
        return [], ""
    finally:
        lease = await provider.find(key)
        if lease is not None:
            with suppress(ProviderError):
                await provider.cancel(lease.ref)
    return [], ""


async def compare(
    provider: AnyProvider, wanted: Iterator[tuple[str, JobSpec]]
) -> tuple[dict[str, str], dict[str, str]]:
    """The objections by job, and what was refused by `prepare` alone."""
    said: dict[str, str] = {}
    late: dict[str, str] = {}
    some = asyncio.Semaphore(24)

    async def one(name: str, spec: JobSpec) -> None:
        async with some:
            objections, why = await refused(provider, spec)
        if objections:
            assert all("`" in why for why in objections), objections  # it names a field
            said[name] = "; ".join(objections)
        elif why:
            late[name] = why[:200]

    await asyncio.gather(*(one(name, spec) for name, spec in wanted))
    return said, late
