"""What a network demands of a job's spec, so that it can be said before anything is stored.

A provider says it as data, in its capabilities: whoever reads them decides the same, in the API as
in a worker, and nobody asks a network. What is let through here, a provider never refuses for the
spec's sake.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.conditions.kernel import MAX_ARG_STRLEN
from cortex.domain.conditions.packing import Packing
from cortex.domain.conditions.references import is_reference
from cortex.domain.conditions.rewriting import is_rewritten
from cortex.domain.conditions.shell import odd_names
from cortex.domain.money import Money
from cortex.domain.rendering import Render
from cortex.domain.rendering.frames import chunked, format_frames
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_bytes

Commanded = Literal["batch", "service", "args", "workdir", "outputs", "inputs", "secret_env"]
Refusable = Literal["workdir", "outputs", "inputs", "secret_env", "render"]
_SEPARATORS: Final = "\u2028\u2029"
_CARRIED: Final = len("CORTEX_VAR_00000=")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class SecretLimits(_Model):
    """Of variables that are sealed one by one."""

    largest: int = Field(description="Bytes of one as JSON.")
    most: int = Field(description="How many, Cortex's own links included.")
    own: int = Field(default=0, description="How many of them are Cortex's own.")
    doubled: str = Field(default="", description="A character that is written twice.")
    prefix: str = Field(default="", description="Plain values that begin so are sealed as well.")
    hint: str = ""


class SceneLimits(_Model):
    """Of render jobs."""

    schemes: tuple[str, ...] = Field(default=(), description="Of URLs that it fetches.")
    files: bool = Field(default=False, description="Scenes may lie on the worker's machine.")
    folders: tuple[str, ...] = Field(default=(), description="Only there; empty: anywhere.")
    max_chunk: int | None = Field(default=None, description="Frames of a chunk.")
    max_chunks: int | None = None
    max_mark: int | None = Field(
        default=None, description="Characters that the frames of a chunk may be written in."
    )


class Conditions(_Model):
    """What a spec must keep to, beyond what a network has at all. By default there is nothing."""

    command_for: tuple[Commanded, ...] = Field(
        default=(),
        description="A job of such a kind, or with such a field, must give its `command`.",
    )
    refused: dict[Refusable, str] = Field(
        default_factory=dict, description="Fields that it takes from no job, and why."
    )
    service_inputs: bool = Field(default=True, description="Services can be given files.")
    image_form: str = Field(default="", description="Pattern of all of `image`; empty: any.")
    image_hint: str = Field(default="", description="What is said of others.")
    mapped_images: tuple[str, ...] = Field(
        default=(), description="Taken with a `command`, whatever their form."
    )
    protocols: tuple[str, ...] = ("tcp", "udp")
    persistent_volumes: bool = True
    max_volume: int | None = None
    taken_mounts: tuple[str, ...] = Field(default=(), description="Where no volume can be.")
    taken_workdirs: tuple[str, ...] = Field(default=(), description="These, not what is below.")
    system_folders: tuple[str, ...] = Field(
        default=(), description="Neither these nor what is below can be a `workdir`."
    )
    gpu_vendors: tuple[str, ...] = ("nvidia", "amd", "intel")
    max_gpus: int | None = None
    line_separators: bool = Field(default=True, description="Takes U+2028 and U+2029 in text.")
    ascii_env: bool = Field(
        default=False, description="Without a `command`, variables must be ASCII."
    )
    carries_names: bool = Field(
        default=False,
        description="Variables that no shell can hold are set by `env` before the command.",
    )
    rewrites: bool = Field(
        default=False,
        description="Nodes rewrite JSON and `%%` in text, unless there is a `command` to shield.",
    )
    least_price: Money | None = Field(default=None, description="Less than that cannot be asked.")
    secret_limits: SecretLimits | None = None
    scenes: SceneLimits | None = None
    packings: tuple[Packing, ...] = ()

    def objections(self, spec: JobSpec) -> list[str]:
        """Why a network that has these conditions refuses the job, in words with field names."""
        if spec.render is not None:
            return [*self._of_fields(spec), *self._of_scene(spec.render), *self._of_rest(spec)]
        return [
            *self._of_command(spec),
            *self._of_fields(spec),
            *self._of_image(spec),
            *self._of_text(spec),
            *self._of_secrets(spec),
            *self._of_rest(spec),
            *(why for packing in self.packings if (why := packing.objection(spec))),
        ]

    def _of_command(self, spec: JobSpec) -> Iterator[str]:
        if spec.command:
            return
        for what in self.command_for:
            if what == spec.kind:
                article = "batch job" if what == "batch" else "service"
                yield (
                    f"a {article} needs its `command` there: the one inside the image cannot be "
                    "read, so nothing of Cortex can be put around it"
                )
                return
            if what not in ("batch", "service") and getattr(spec, what):
                yield f"a job with `{what}` needs its `command` as well there"
                return

    def _of_fields(self, spec: JobSpec) -> Iterator[str]:
        for name, why in self.refused.items():
            if getattr(spec, name):
                yield f"`{name}`: {why}"
        if spec.inputs and spec.kind == "service" and not self.service_inputs:
            yield "`inputs`: it takes files for batch jobs only, not for a service"
        for port in spec.ports:
            if port.protocol not in self.protocols:
                yield f"`ports`: it exposes no {port.protocol.upper()} ports"
                return

    def _of_image(self, spec: JobSpec) -> Iterator[str]:
        image = spec.image
        if image is None or not self.image_form or is_reference(image, self.image_form):
            return
        if not (spec.command and image in self.mapped_images):
            yield f"`image`: `{image}` {self.image_hint}"

    def _of_text(self, spec: JobSpec) -> Iterator[str]:
        env = spec.environment()
        if not self.line_separators:
            for name, texts in _texts(spec):
                if any(char in text for text in texts for char in _SEPARATORS):
                    yield f"`{name}`: it takes no line or paragraph separators (U+2028, U+2029)"
        if self.ascii_env and not spec.command:
            yield from (
                f"`{_variable(spec, name)}` is not ASCII, which it cannot take without a `command`"
                for name, text in env.items()
                if not text.isascii()
            )
        if self.carries_names and spec.command:
            yield from self._of_names(spec, env)
        if self.rewrites and not spec.command:
            met = [_variable(spec, name) for name, text in env.items() if is_rewritten(text)]
            met += ["args"] if any(map(is_rewritten, spec.args)) else []
            if met:
                yield (
                    f"`{met[0]}` looks like JSON or a `%%` literal, which its nodes rewrite; give "
                    "the job's `command`, so that Cortex can hand it over in another way"
                )

    def _of_names(self, spec: JobSpec, env: dict[str, str]) -> Iterator[str]:
        for name in odd_names(env):
            if "=" in spec.command[0]:
                yield (
                    f"`{_variable(spec, name)}` cannot be given to a program with a `=` in its "
                    "name (`command`)"
                )
                return
            if _CARRIED + len(name) + len(env[name].encode()) + 2 > MAX_ARG_STRLEN:
                yield (
                    f"`{_variable(spec, name)}` is too long for a variable with such a name: it "
                    f"travels under another one, and the kernel takes at most {MAX_ARG_STRLEN:,} "
                    "bytes"
                )

    def _of_secrets(self, spec: JobSpec) -> Iterator[str]:
        limits = self.secret_limits
        if limits is None:
            return
        sealed = {f"secret_env.{name}": text for name, text in spec.secrets().items()}
        if limits.prefix:
            begun = {
                name: text for name, text in spec.env.items() if text.startswith(limits.prefix)
            }
            sealed |= {f"env.{name}": text for name, text in begun.items()}
        for field, text in sealed.items():
            sealed_text = text.replace(limits.doubled, 2 * limits.doubled)
            name = field.partition(".")[2]
            if odd_names([name]):  # it is sealed with its name
                sealed_text = f"{name}={sealed_text}"
            if _json_bytes(sealed_text) > limits.largest:
                size = format_bytes(limits.largest)
                yield f"`{field}` is larger than the {size} that can be sealed; {limits.hint}"
        if len(sealed) + limits.own > limits.most:
            most = limits.most - limits.own
            yield f"`secret_env`: at most {most} variables of a job can be sealed"

    def _of_rest(self, spec: JobSpec) -> Iterator[str]:
        yield from self._of_volumes(spec)
        gpu = spec.resources.gpu
        if gpu is not None and gpu.vendor not in self.gpu_vendors:
            yield f"`resources.gpu.vendor`: it has GPUs of {', '.join(self.gpu_vendors)} only"
        if gpu is not None and self.max_gpus is not None and gpu.count > self.max_gpus:
            yield f"`resources.gpu.count`: it gives at most {self.max_gpus} to one job"
        yield from self._of_price(spec.placement.max_price)
        if spec.workdir is not None and self._is_taken(spec.workdir):
            yield f"`workdir`: `{spec.workdir}` is part of the system there"

    def _of_price(self, most: Money | None) -> Iterator[str]:
        least = self.least_price
        if least is None or most is None or most.currency != least.currency:
            return
        if most.amount < least.amount:
            yield f"`placement.max_price` of {most} is less than it can express ({least})"

    def _of_volumes(self, spec: JobSpec) -> Iterator[str]:
        for volume in spec.volumes:
            if volume.persistent and not self.persistent_volumes:
                yield f"`volumes`: its volumes end with their lease: it cannot keep `{volume.name}`"
            if volume.path in self.taken_mounts:
                yield f"`volumes`: a volume cannot be mounted at `{volume.path}`"
            if self.max_volume is not None and volume.size > self.max_volume:
                yield f"`volumes`: `{volume.name}` is over {format_bytes(self.max_volume)}"

    def _is_taken(self, workdir: str) -> bool:
        path = PurePosixPath(workdir)
        below = any(path.is_relative_to(folder) for folder in self.system_folders)
        return below or str(path) in self.taken_workdirs

    def _of_scene(self, render: Render) -> Iterator[str]:
        limits = self.scenes
        if limits is None:
            return
        yield from _of_place(render, limits)
        if limits.max_chunk is not None and render.chunk > limits.max_chunk:
            yield f"`render.chunk`: it takes at most {limits.max_chunk} frames in a chunk"
        chunks = chunked(render.numbers(), render.chunk)
        if limits.max_chunks is not None and len(chunks) > limits.max_chunks:
            yield (
                f"`render.chunk`: it would be {len(chunks)} jobs, at most {limits.max_chunks} are; "
                "raise it"
            )
            return
        longest = limits.max_mark
        if longest is not None and any(len(format_frames(part)) > longest for part in chunks):
            yield "`render.frames` are too scattered for one chunk; lower `render.chunk`"


def _texts(spec: JobSpec) -> Iterator[tuple[str, Sequence[str]]]:
    yield "command", spec.command
    yield "args", spec.args
    yield "env", tuple(spec.env.values())
    yield "secret_env", tuple(spec.secrets().values())
    yield "workdir", (spec.workdir or "",)
    yield "outputs", spec.outputs


def _variable(spec: JobSpec, name: str) -> str:
    return f"{'secret_env' if name in spec.secret_env else 'env'}.{name}"


def _json_bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def _of_place(render: Render, limits: SceneLimits) -> Iterator[str]:
    if render.is_url:
        scheme = urlsplit(render.scene).scheme.lower()
        if scheme not in limits.schemes:
            yield f"`render.scene`: it fetches no scenes by {scheme}"
        return
    if not limits.files:
        yield "`render.scene`: it reads scenes by URL only; give it as one"
        return
    path = PurePosixPath(render.scene)
    if limits.folders and not any(path.is_relative_to(folder) for folder in limits.folders):
        yield "`render.scene`: it lies in none of its `scene_folders`"
