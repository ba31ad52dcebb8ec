"""What Nosana demands of a job's spec, in the form in which everybody can read it."""

from decimal import Decimal

from cortex.domain.conditions import Conditions, Refusable
from cortex.domain.conditions.kernel import MAX_ARG_STRLEN
from cortex.domain.conditions.packing import Packing
from cortex.domain.conditions.references import REFERENCE
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from providers.dropbox import DropBox
from providers.nosana.config import NosanaConfig
from providers.nosana.definition import MAX_BODY, NO_DROP, plan

_PUBLIC = (
    "job definitions, with the link to secrets and files, stand on the chain; set `confidential`"
)
# The market's address, links and whatever else of a body is longer for some jobs than for others.
_SLACK = 8192


def conditions(config: NosanaConfig, drop: DropBox | None) -> Conditions:
    """What jobs must keep to, with this drop box or without one."""
    refused: dict[Refusable, str] = {}
    if drop is None:
        refused = {"outputs": NO_DROP, "inputs": NO_DROP, "secret_env": NO_DROP}
    elif not config.confidential:
        refused = {"inputs": _PUBLIC, "secret_env": _PUBLIC}
    overhead = _plain(config, drop) + _SLACK
    body = "the job's definition, of which Nosana"
    return Conditions(
        command_for=("outputs", "inputs", "secret_env"),
        refused=refused,
        image_form=REFERENCE,
        image_hint="is no image reference; a right one is `busybox:1.36`",
        protocols=("tcp",),
        gpu_vendors=("nvidia",),
        max_gpus=1,
        carries_names=True,
        rewrites=True,
        packings=(
            Packing(what=body, limit=MAX_BODY, overhead=overhead, form="json", secrets=False),
            Packing(
                what=f"{body} (some of it in a shell's words, for nodes rewrite JSON and `%%`)",
                limit=MAX_BODY,
                overhead=overhead,
                form="shell-json",
                secrets=False,
                only_rewritten=True,
            ),
            Packing(
                what="one word (nodes rewrite JSON and `%%` in others), of which the kernel",
                limit=MAX_ARG_STRLEN - 1,
                overhead=overhead,
                form="shell",
                secrets=False,
                only_rewritten=True,
            ),
        ),
    )


def _plain(config: NosanaConfig, drop: DropBox | None) -> int:
    spec = JobSpec.model_validate({"image": "x" * 500, "command": ["x"]})
    key = f"{new_id('job')}-1"
    made = plan(spec, "x" * 128, key, market="", hourly=Decimal(1), config=config, drop=drop)
    return len(made.text)
