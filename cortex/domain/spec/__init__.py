"""The job spec, version 1: what a user asks for, in YAML or JSON."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from cortex.domain.money import Money
from cortex.domain.names import SECRET_MASK, check_name
from cortex.domain.quantities import Duration
from cortex.domain.rendering import RENDER_OUTPUTS, RENDER_RESOURCES, Render
from cortex.domain.spec.environment import MAX_ENV_BYTES, check_env
from cortex.domain.spec.extensions import EXTENSION_SCHEMA, without_extensions
from cortex.domain.spec.inputs import MAX_INPUTS, Input
from cortex.domain.spec.notify import Notify
from cortex.domain.spec.parts import Part, container_path, positive_money
from cortex.domain.spec.placement import Placement, Strategy, StrategyName, Weights
from cortex.domain.spec.resources import Gpu, Port, Resources, Volume
from cortex.domain.spec.runtime import AutoExtend, Retries
from cortex.domain.written import SecretReference, WrittenSecret, WrittenText

__all__ = [
    "MAX_COMMAND_BYTES",
    "MAX_DURATION",
    "MAX_ENV_BYTES",
    "Gpu",
    "JobSpec",
    "Placement",
    "Port",
    "Resources",
    "Strategy",
    "StrategyName",
    "Volume",
    "Weights",
    "check_env",
]

MAX_COMMAND_BYTES = 128 * 1024
MAX_DURATION = timedelta(days=90)
_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_NOT_RENDERED = (
    "image",
    "command",
    "args",
    "workdir",
    "env",
    "secret_env",
    "ports",
    "volumes",
    "outputs",
    "inputs",
    "read_only_root",
)
_IMAGE = re.compile(r"[a-z0-9][\w.\-/:@]{0,499}", re.ASCII)


class JobSpec(Part):
    """What the user asked for.

    `secret_env` holds secrets: it is shown masked everywhere and stored encrypted.
    """

    model_config = ConfigDict(json_schema_extra=EXTENSION_SCHEMA)

    version: Literal[1] = 1
    name: str = "job"
    kind: Literal["batch", "service"] = Field(
        default="batch", description="A batch ends by itself; a service runs until it is stopped."
    )
    image: str | None = Field(default=None, description="Container image; absent: a plain process.")
    command: tuple[WrittenText, ...] = Field(
        default=(), description="Replaces the image's entry point."
    )
    args: tuple[WrittenText, ...] = Field(default=(), description="Arguments of the command.")
    render: Render | None = Field(
        default=None,
        description="Frames of a scene to render, in place of an image or command. "
        "`resources` then begin with 1 core, 2 GiB of memory, 4 GiB of storage.",
    )
    workdir: str | None = None
    env: dict[str, WrittenText] = Field(default_factory=dict)
    secret_env: dict[str, WrittenSecret] = Field(
        default_factory=dict,
        description="Secret variables: a value, or `{secret: NAME}` for one kept in the project.",
    )
    read_only_root: bool = False
    resources: Resources = Field(default_factory=Resources)
    ports: tuple[Port, ...] = Field(default=(), max_length=32)
    volumes: tuple[Volume, ...] = Field(default=(), max_length=16)
    duration: Annotated[Duration, Field(ge=timedelta(seconds=1), le=MAX_DURATION)] = Field(
        default=timedelta(hours=1), description="The hard deadline of one attempt."
    )
    auto_extend: AutoExtend | None = Field(
        default=None, description="More time by itself, shortly before the deadline."
    )
    retries: Retries = Field(default_factory=Retries)
    placement: Placement = Field(default_factory=Placement)
    budget: Money | None = Field(default=None, description="The most this job may cost in all.")
    outputs: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="Files or folders to keep, relative to the workdir; or patterns of them: `*` "
        "and `?` within a name, `[abc]`, `[!abc]`, `**` for any folders. A name that is the "
        "pattern itself matches too.",
    )
    inputs: tuple[Input, ...] = Field(
        default=(),
        max_length=MAX_INPUTS,
        description="Outputs of other jobs to begin with, as files of this one.",
    )
    labels: dict[str, WrittenText] = Field(default_factory=dict, max_length=32)
    notify: Notify | None = Field(
        default=None, description="Who is told of what happens to it, besides their own choice."
    )

    @model_validator(mode="before")
    @classmethod
    def _roomy(cls, value: Any) -> Any:
        value = without_extensions(value)
        if not isinstance(value, Mapping) or value.get("render") is None:
            return value
        need = value.get("resources", {})
        if not isinstance(need, Mapping):
            return value
        return {**value, "resources": {**RENDER_RESOURCES, **need}}

    @field_validator("name")
    @classmethod
    def _dns_like(cls, value: str) -> str:
        return check_name(value)

    @field_validator("image")
    @classmethod
    def _image_reference(cls, value: str | None) -> str | None:
        if value is not None and not _IMAGE.fullmatch(value):
            raise ValueError("must be an image reference such as `busybox:1.36`")
        return value

    @field_validator("command", "args", mode="before")
    @classmethod
    def _list_of_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('must be a list, such as ["sh", "-c", "echo hello"]')
        return value

    @field_validator("command", "args")
    @classmethod
    def _clean_words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("\0" in word for word in value):
            raise ValueError("must not contain a NUL character")
        if sum(len(word.encode()) for word in value) > MAX_COMMAND_BYTES:
            raise ValueError(f"is over {MAX_COMMAND_BYTES // 1024} KiB")
        return value

    @field_validator("command")
    @classmethod
    def _not_blank(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and not value[0].strip():
            raise ValueError("must begin with a program to run")
        return value

    @field_validator("env")
    @classmethod
    def _plain_env(cls, value: dict[str, str]) -> dict[str, str]:
        check_env(value)
        return value

    @field_validator("secret_env")
    @classmethod
    def _hidden_env(
        cls, value: dict[str, SecretStr | SecretReference]
    ) -> dict[str, SecretStr | SecretReference]:
        check_env({name: _clear(secret) for name, secret in value.items()})
        return value

    @field_validator("workdir")
    @classmethod
    def _workdir_path(cls, value: str | None) -> str | None:
        return None if value is None else container_path(value)

    @field_validator("outputs")
    @classmethod
    def _safe_outputs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for output in value:
            path = PurePosixPath(output)
            if (
                not output.strip()
                or ".." in path.parts
                or "\0" in output
                or str(path) in {"/", "."}
            ):
                raise ValueError(f"`{output[:60]}` must name a file or folder, without `..`")
        return value

    @field_validator("labels")
    @classmethod
    def _label_form(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if not _LABEL_KEY.fullmatch(key):
                raise ValueError(f"key `{key[:60]}` must be 1 to 63 letters, digits or `._/-`")
            if len(text) > 255 or "," in text or not text.isprintable():
                raise ValueError(f"`{key}` must be at most 255 printable characters without `,`")
        return value

    @field_validator("budget")
    @classmethod
    def _positive_budget(cls, value: Money | None) -> Money | None:
        return positive_money(value)

    @field_serializer("secret_env", when_used="json")
    def _masked(
        self, value: dict[str, SecretStr | SecretReference]
    ) -> dict[str, str | dict[str, str]]:
        return {
            name: SECRET_MASK if isinstance(secret, SecretStr) else secret.model_dump()
            for name, secret in value.items()
        }

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.render is not None:
            self._only_render()
        elif self.image is None and not self.command:
            raise ValueError("needs an `image`, a `command`, or both; or a scene to `render`")
        if self.auto_extend is not None and self.auto_extend.up_to <= self.duration:
            raise ValueError("`auto_extend.up_to` must be more than the `duration`")
        both = self.env.keys() & self.secret_env.keys()
        if both:
            raise ValueError(f"`{min(both)}` stands in both `env` and `secret_env`")
        _unique("ports", [(port.port, port.protocol) for port in self.ports])
        _unique("volumes", [volume.name for volume in self.volumes])
        _unique("volumes", [volume.path for volume in self.volumes])
        return self

    def _only_render(self) -> None:
        """What a render job runs is known, so it takes nothing that says what to run."""
        for name in _NOT_RENDERED:
            if getattr(self, name):
                raise ValueError(f"asks to `render` a scene, so it takes no `{name}`")
        if self.kind != "batch":
            raise ValueError("asks to `render` a scene, so it cannot be a service")

    def kept(self) -> tuple[str, ...]:
        """The files and folders to keep: those declared, or what a render job makes."""
        if self.render is None:
            return self.outputs
        return RENDER_OUTPUTS if self.render.previews else RENDER_OUTPUTS[:1]

    def secrets(self) -> dict[str, str]:
        """The secret variables in clear; for encryption and for the provider only.

        Those that are references read as the mask, as all do of a spec that was stored.
        """
        return {name: _clear(secret) for name, secret in self.secret_env.items()}

    def references(self) -> dict[str, str]:
        """The secret variables that are kept in the project, with the names of the secrets."""
        return {
            name: secret.secret
            for name, secret in self.secret_env.items()
            if isinstance(secret, SecretReference)
        }

    def with_secrets(self, secrets: Mapping[str, str]) -> "JobSpec":
        """This spec with the real secrets in place of the stored masks and references."""
        hidden = {name: SecretStr(secrets[name]) for name in self.secret_env}
        return self.model_copy(update={"secret_env": hidden})

    def environment(self) -> dict[str, str]:
        """All variables of the job, secrets in clear."""
        return {**self.env, **self.secrets()}


def _clear(secret: SecretStr | SecretReference) -> str:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else SECRET_MASK


def _unique(field: str, values: list[Any]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"`{field}` names the same thing twice")
