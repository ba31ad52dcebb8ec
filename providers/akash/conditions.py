"""What Akash demands of a job's spec, in the form in which everybody can read it.

The same demands are kept once more where the SDL is made (`sdl`): there
they guard what is sent, whoever wrote it.
"""

from decimal import Decimal

from cortex.domain.conditions import Conditions, SecretLimits
from cortex.domain.conditions.packing import Packing
from cortex.domain.conditions.references import REFERENCE
from cortex.domain.ids import new_id
from cortex.domain.money import Money
from cortex.domain.spec import JobSpec
from providers.akash.callback import Callback
from providers.akash.config import AkashConfig
from providers.akash.money import UACT
from providers.akash.sdl import secrets
from providers.akash.sdl.render import LEAST_CAP, MARKS, in_ram, render
from providers.akash.sdl.rules import MAX_GPUS, MAX_SDL, MAX_STORAGE_MIB

_SLACK = 512  # an attempt's number, a longer price


def conditions(config: AkashConfig, callback: Callback, *, seals: bool) -> Conditions:
    """What jobs must keep to. `seals`: the Console is one that takes sealed secrets."""
    limits = SecretLimits(
        largest=secrets.LARGEST,
        most=secrets.MOST,
        own=len(_links(callback)),
        doubled="$",
        prefix=secrets.RESERVED,
        hint="`seal_secrets: never` of the provider's configuration sends it readable",
    )
    plain = _plain(config, callback)
    return Conditions(
        command_for=("batch", "args", "workdir"),
        service_inputs=False,
        image_form=REFERENCE,
        image_hint="is no image reference; a right one is `busybox:1.36`",
        persistent_volumes=False,
        max_volume=MAX_STORAGE_MIB * 2**20,
        taken_mounts=("/", MARKS) if in_ram(_job(), config) else ("/",),
        gpu_vendors=("nvidia",),
        max_gpus=MAX_GPUS,
        line_separators=False,
        carries_names=True,
        least_price=Money(amount=LEAST_CAP * config.blocks_per_hour / UACT, currency="USD"),
        secret_limits=limits if seals else None,
        packings=(
            Packing(
                what="the deployment's SDL, of which Akash's Console",
                limit=MAX_SDL,
                overhead=plain + _SLACK,
                form="yaml",
            ),
        ),
    )


def _links(callback: Callback) -> list[str]:
    """What of Cortex's own is sealed as well."""
    spec = _job()
    urls = callback.urls(f"{new_id('job')}-1", spec)
    return [url for url in (urls.result, urls.inputs, urls.outputs) if url] if urls else []


def _plain(config: AkashConfig, callback: Callback) -> int:
    """How long the SDL is of a job that has as much of everything else as there may be."""
    spec = _job()
    key = f"{new_id('job')}-1"
    return len(render(spec, key, config, Decimal(1_000_000), callback.urls(key, spec)).text)


def _job() -> JobSpec:
    return JobSpec.model_validate(
        {
            "image": "x" * 500,
            "command": ["x"],
            "ports": [{"port": 60_000 + number} for number in range(32)],
            "volumes": [
                {"name": f"{'v' * 60}{number:02}", "path": f"/{number}"} for number in range(16)
            ],
            "inputs": [{"from": new_id("job")}],
            "placement": {"regions": ["r" * 128]},
        }
    )
