"""Frames on the terminal: the table, the line of an event, the example's job file."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.follow import frames_line
from cli.frames import show_frames
from cli.specfile import load
from cli.state import State
from cortex.client import Cortex
from cortex.domain.money import Money
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.schemas.jobs import FramePage

PRICE = Money(amount=Decimal("0.25"), currency="USD")


class FakeServer:
    """Two pages of frames, one frame each."""

    def frames(self, _job: str, *, state: str | None, cursor: str | None = None) -> FramePage:
        number = 1 if cursor is None else 2
        done = FrameStatus(
            frame=number,
            state=FrameState.DONE,
            attempts=number,
            cost=PRICE,
            seconds=Decimal("1.5"),
            output=f"frames/frame_{number:06d}.png",
        )
        counts = dict.fromkeys(FrameState, 0) | {FrameState.DONE: 2}
        following = "1" if cursor is None else None
        assert state == "done"
        return FramePage(
            items=(done,), next_cursor=following, total=2, counts=counts, cost=(PRICE * 2,)
        )


def test_all_pages_are_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    server: Any = FakeServer()
    client: Cortex = server
    show_frames(State(), client, "job_x", "done")
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].split() == ["FRAME", "STATE", "TRIES", "SECONDS", "COST", "FILE", "MESSAGE"]
    assert lines[1].split() == ["1", "done", "1", "1.50", "0.25", "USD", "frames/frame_000001.png"]
    assert lines[2].split()[:3] == ["2", "done", "2"]
    assert "2 frames: 2 done; they cost 0.5 USD so far" in shown.err


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            {
                "progress": "0.5",
                "message": "frame 12 done; 12 of 24",
                "frames": [{"frame": 12, "attempts": 2, "cost": {"amount": "1", "currency": "X"}}],
            },
            " 50%  frame 12 done; 12 of 24 · 1 X · tried 2 times",
        ),
        (
            {
                "progress": "0.25",
                "message": "frames 1-2 done, frame 3 failed; 2 of 8",
                "frames": [{"frame": 3, "state": "failed", "message": "no \x1b camera"}, {}, {}],
            },
            " 25%  frames 1-2 done, frame 3 failed; 2 of 8 (no \ufffd camera)",
        ),
        ({}, ""),
    ],
)
def test_the_line_of_an_event(data: dict[str, Any], line: str) -> None:
    assert frames_line(data) == line


def test_the_example_asks_for_24_frames() -> None:
    example = Path(__file__).parents[2] / "examples" / "render.yaml"
    render = load(str(example))[0].spec().render
    assert render is not None
    assert render.numbers() == tuple(range(1, 25))
    assert render.scene == str(example.parent / "scene.blend")
