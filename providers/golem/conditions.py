"""What Golem demands of a job's spec, in the form in which everybody can read it."""

from cortex.domain.conditions import Conditions
from cortex.domain.conditions.kernel import MAX_ARG_STRLEN
from cortex.domain.conditions.packing import Packing
from cortex.domain.spec import JobSpec
from providers.golem.config import GolemConfig
from providers.golem.guest import Guest, start_script
from providers.golem.images import Images
from providers.golem.sealed import MAX_SEALED, seal

_SLACK = 64
_KEY = "job_01k7hq2z9fvx4m8r3tjw6ncsbd-1000"
"""Of no job: what is sealed is as long each time, and within the slack for any other key."""


def conditions(config: GolemConfig, images: Images) -> Conditions:
    """What jobs must keep to, with the images that can be had."""
    guest = Guest(config, _KEY)
    job = guest.job(JobSpec(command=("x",)))
    sealed = len(seal(job, guest.key, config.app_key.get_secret_value()))
    return Conditions(
        command_for=("batch", "service"),
        image_form=images.form(),
        image_hint="is none that Golem can run: it runs GVMI images only; convert it with "
        "`gvmkit-build <image> --push-to <user>/<repository>:<tag>` and name that tag, or map it "
        "in `images` of this provider",
        mapped_images=images.mapped(),
        gpu_vendors=("nvidia",),
        max_gpus=1,
        carries_names=True,
        packings=(
            Packing(
                what="the agreement, of which Cortex",
                limit=MAX_SEALED,
                overhead=sealed + _SLACK,
                form="zlib",
            ),
            Packing(
                what="one word of a shell command, of which the kernel",
                limit=MAX_ARG_STRLEN - 1,
                overhead=len(start_script(job.env).encode()) + _SLACK,
                form="shell",
                words=False,
            ),
        ),
    )
