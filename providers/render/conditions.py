"""What Dispersed demands of a job's spec, in the form in which everybody can read it."""

from cortex.domain.conditions import Conditions, Refusable, SceneLimits
from cortex.domain.conditions.kernel import MAX_ARG_STRLEN
from cortex.domain.conditions.packing import Packing
from cortex.domain.conditions.references import TAGGED, is_reference
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from providers.dropbox import DropBox
from providers.render.config import RenderConfig
from providers.render.jobs import MAX_TITLE, Bodies, Mark
from providers.render.remote import COMMAND

_MAX_CHUNK = 100
_MAX_CHUNKS = 200
_SLACK = 64


def conditions(config: RenderConfig, drop: DropBox | None) -> Conditions:
    """What jobs must keep to, with this drop box or without one."""
    refused: dict[Refusable, str] = {}
    if drop is None:
        refused = {
            "outputs": "it can hand over no outputs without a drop box (settings `drop`)",
            "render": "it can hand over no frames without a drop box (settings `drop`)",
        }
    key = f"{new_id('job')}-1000"
    mapped = [image for image, own in config.images.items() if is_reference(own, TAGGED)]
    return Conditions(
        command_for=("args", "workdir", "outputs"),
        refused=refused,
        image_form=TAGGED,
        image_hint="is no image reference that it can be given: images go by tag, as "
        "`busybox:1.36`, and not by digest",
        mapped_images=tuple(mapped),
        ascii_env=True,
        carries_names=True,
        scenes=SceneLimits(
            schemes=("http", "https"),
            max_chunk=_MAX_CHUNK,
            max_chunks=_MAX_CHUNKS,
            max_mark=MAX_TITLE - len(Mark(key, _MAX_CHUNKS, _MAX_CHUNKS, (0,)).title),
        ),
        packings=(
            Packing(
                what=f"one variable ({COMMAND}), of which the kernel",
                limit=MAX_ARG_STRLEN - 1,
                overhead=_plain(config, drop, key) + len(f"{COMMAND}=") + _SLACK,
                form="ascii",
            ),
        ),
    )


def _plain(config: RenderConfig, drop: DropBox | None, key: str) -> int:
    spec = JobSpec(image="x", command=("x",), outputs=("x",) if drop else ())
    ((_, body),) = Bodies(config, drop).of(spec, key, None)
    return len(body["parameters"]["parameters"]["env"][COMMAND])
