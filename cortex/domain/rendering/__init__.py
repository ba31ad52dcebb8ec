"""What a render job asks for: a scene, its frames, and how they are made."""

import re
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from cortex.domain.rendering.frames import format_frames, parse_frames

Engine = Literal["cycles", "eevee", "workbench"]
FrameFormat = Literal["PNG", "JPEG", "OPEN_EXR"]
ENGINES: tuple[str, ...] = get_args(Engine)
FORMATS: tuple[str, ...] = get_args(FrameFormat)
RENDER_OUTPUTS = ("frames", "previews")
"""The folders that a render job's files lie in."""
RENDER_RESOURCES = {"cpu": "1", "memory": "2Gi", "storage": "4Gi"}
"""What a render job asks for where it does not say: Blender fits in no smaller job."""
_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "OPEN_EXR": "exr"}
_URL_SCHEMES = ("http", "https", "s3")
_WHOLE = re.compile(r"([0-9]+)\.0+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Resolution(_Model):
    width: int = Field(ge=1, le=65_000)
    height: int = Field(ge=1, le=65_000)


class Render(_Model):
    """A scene to render. Every frame becomes a file of its own and is tried anew on its own."""

    scene: Annotated[str, StringConstraints(min_length=1, max_length=4096, strip_whitespace=True)]
    sha256: str | None = Field(
        default=None, description="Of the scene file; another one is refused."
    )
    engine: Engine | None = Field(default=None, description="Absent: the one the scene names.")
    frames: str = Field(description="A list of frames and ranges, `1-48,60` or `1-100x5`.")
    chunk: int = Field(
        default=1, ge=1, le=1000, description="Frames that one process renders in a row."
    )
    samples: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Per pixel; absent: as the scene has it."
    )
    resolution: Resolution | None = Field(default=None, description="Absent: the scene's own.")
    format: FrameFormat = "PNG"
    retries: int = Field(
        default=2, ge=0, le=20, description="How often a frame that fails is begun anew."
    )
    previews: bool = Field(default=True, description="Make a small PNG of every frame as well.")

    @field_validator("scene")
    @classmethod
    def _place(cls, value: str) -> str:
        if _SCHEME.match(value):
            return _checked_url(value)
        path = PurePosixPath(value)
        if not path.is_absolute() or ".." in path.parts or "\0" in value:
            raise ValueError(
                "must be a URL or an absolute path on the worker's machine, without `..`"
            )
        return str(path)

    @field_validator("sha256")
    @classmethod
    def _digest(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise ValueError("must be 64 hexadecimal digits")
        return None if value is None else value.lower()

    @field_validator("frames", mode="before")
    @classmethod
    def _one_frame(cls, value: Any) -> Any:
        # JSON Schema's integers include 2.0; in YAML it is the text that was written.
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            value = f"{Decimal(str(value)):f}"
        whole = _WHOLE.fullmatch(value) if isinstance(value, str) else None
        return value if whole is None else whole[1]

    @field_validator("frames")
    @classmethod
    def _normal(cls, value: str) -> str:
        return format_frames(parse_frames(value))

    @property
    def is_url(self) -> bool:
        """Whether the scene is to be fetched, rather than read from the worker's disk."""
        return _SCHEME.match(self.scene) is not None

    def numbers(self) -> tuple[int, ...]:
        """The frames to render; none in a spec of which everything is rendered already."""
        return parse_frames(self.frames) if self.frames else ()

    def without(self, done: frozenset[int]) -> "Render":
        """The same with only those frames that are not done."""
        left = [frame for frame in self.numbers() if frame not in done]
        return self.model_copy(update={"frames": format_frames(left)})

    def output(self, frame: int) -> str:
        """Where a frame's file lies among the outputs."""
        return f"frames/frame_{frame:06d}.{_EXTENSIONS[self.format]}"

    def preview(self, frame: int) -> str:
        """Where a frame's small picture lies among the outputs."""
        return f"previews/frame_{frame:06d}.png"


def _checked_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme.lower() not in _URL_SCHEMES or not parts.hostname:
        raise ValueError(f"must be a URL of {', '.join(_URL_SCHEMES)}, or an absolute path")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password; use a presigned URL")
    return value
