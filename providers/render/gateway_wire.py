"""What a render gateway answers (docs/providers/render.md). Amounts are decimal strings."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cortex.domain.money import Money
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.domain.states import RunState
from providers.errors import OutcomeUnknown, Unavailable

ModelT = TypeVar("ModelT", bound=BaseModel)
JobState = Literal[
    "uploading",
    "queued",
    "rendering",
    "paused_funds",
    "awaiting_approval",
    "completed",
    "cancelling",
    "cancelled",
    "failed",
]
_FRAMES = {
    "queued": FrameState.QUEUED,
    "rendering": FrameState.RENDERING,
    "awaiting_approval": FrameState.RENDERING,
    "approved": FrameState.DONE,
    "rejected": FrameState.FAILED,
    "failed": FrameState.FAILED,
}


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class GatewayJob(_Wire):
    id: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    client_ref: str = ""
    state: JobState
    cost: Money
    error: str | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def over(self) -> bool:
        return self.state in ("completed", "cancelled", "failed")

    def run_state(self) -> tuple[RunState, int | None, str]:
        """State, exit code and message as Cortex knows them."""
        if self.state == "completed":
            return RunState.EXITED, 0, ""
        if self.state == "failed":
            return RunState.EXITED, 1, self.error or "the gateway says no more"
        if self.state == "cancelled":
            return RunState.LOST, None, "the gateway cancelled it"
        if self.state in ("uploading", "queued"):
            return RunState.STARTING, None, ""
        if self.state == "paused_funds":
            text = "paused: the account at the render gateway needs credit; it then goes on"
            return RunState.RUNNING, None, text
        return RunState.RUNNING, None, ""


class GatewayFrame(_Wire):
    frame: int
    state: Literal["queued", "rendering", "awaiting_approval", "approved", "rejected", "failed"]
    attempts: int = 0
    cost: Money | None = None
    seconds: Decimal | None = None
    error: str | None = None
    output: str | None = None
    output_url: str | None = None
    preview: str | None = None
    preview_url: str | None = None
    sha256: str | None = None
    finished_at: datetime | None = None

    def files(self) -> list[tuple[str, str]]:
        """Path and link of what there is of it."""
        pairs = ((self.output, self.output_url), (self.preview, self.preview_url))
        return [(path, link) for path, link in pairs if path and link]

    def status(self, *, over: bool) -> FrameStatus:
        """As Cortex knows it; one that was begun when the job ended is to be begun again."""
        state = _FRAMES[self.state]
        if over and state is FrameState.RENDERING:
            state = FrameState.QUEUED
        return FrameStatus(
            frame=self.frame,
            state=state,
            attempts=self.attempts,
            cost=self.cost,
            seconds=self.seconds,
            message=(self.error or "")[:300],
            output=self.output if state is FrameState.DONE else None,
            finished_at=self.finished_at,
        )


class GatewayLine(_Wire):
    cursor: str
    time: datetime
    text: str


class GatewayLogs(_Wire):
    lines: tuple[GatewayLine, ...]
    next_cursor: str | None = None
    complete: bool


def parsed(model: type[ModelT], answer: Any, *, effect: bool = False) -> ModelT:
    """The answer as a model.

    Raises:
        Unavailable, OutcomeUnknown: it is none.
    """
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        text = f"the answer of the render gateway is no {model.__name__[7:].lower()}"
        raise (OutcomeUnknown(text) if effect else Unavailable(text)) from error
