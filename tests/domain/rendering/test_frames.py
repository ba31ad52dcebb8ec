"""How frames are written, read and cut into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex.domain.rendering.frames import (
    MAX_FRAME,
    MAX_FRAMES,
    chunked,
    format_frames,
    parse_frames,
)


class TestParse:
    @pytest.mark.parametrize(
        ("text", "frames"),
        [
            ("7", (7,)),
            ("0", (0,)),
            ("1-4", (1, 2, 3, 4)),
            ("1-3,60", (1, 2, 3, 60)),
            (" 60 , 1 - 3 ", (1, 2, 3, 60)),
            ("1-10x4", (1, 5, 9)),
            ("5-5", (5,)),
            ("1-3,2-4", (1, 2, 3, 4)),
        ],
    )
    def test_reads(self, text: str, frames: tuple[int, ...]) -> None:
        assert parse_frames(text) == frames

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "`nothing`"),
            ("1,,2", "`nothing`"),
            ("a", "`a`"),
            ("-3", "`-3`"),
            ("1-", "`1-`"),
            ("1.5", "`1.5`"),
            ("1x5", "`1x5`"),
            ("1-9x0", "at least 1"),
            ("9-1", "ends before it begins"),
            (f"{MAX_FRAME + 1}", "the last frame"),
            (f"1-{MAX_FRAMES + 1}", "more than"),
            (f"1-{MAX_FRAMES},{MAX_FRAMES + 5}", "more than"),
        ],
    )
    def test_refuses(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=r"`|more than") as caught:
            parse_frames(text)
        assert why in str(caught.value)

    def test_does_not_count_to_a_million_first(self) -> None:
        with pytest.raises(ValueError, match="more than"):
            parse_frames(",".join([f"0-{MAX_FRAME}"] * 100_000))


class TestFormat:
    @pytest.mark.parametrize(
        ("frames", "text"),
        [
            ((), ""),
            ((3,), "3"),
            ((3, 4), "3-4"),
            ((3, 5), "3,5"),
            ((1, 2, 3, 60), "1-3,60"),
            ((1, 6, 11, 12, 13), "1-11x5,12-13"),
        ],
    )
    def test_writes(self, frames: tuple[int, ...], text: str) -> None:
        assert format_frames(frames) == text

    @given(st.sets(st.integers(0, 3000), min_size=1, max_size=200))
    def test_reads_what_it_writes(self, frames: set[int]) -> None:
        assert parse_frames(format_frames(frames)) == tuple(sorted(frames))


@given(st.lists(st.integers(0, 99), max_size=50), st.integers(1, 9))
def test_chunks_hold_all_frames_in_order(frames: list[int], size: int) -> None:
    pieces = chunked(frames, size)
    assert [frame for piece in pieces for frame in piece] == frames
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)
