"""Reading what the runner prints."""

import pytest

from providers.lines import MAX_LINE
from providers.runner import RunnerLog
from providers.runner.wrap import token
from tests.providers.runner.conftest import KEY

END = f"c {token(KEY)} end 0 1764374400 none"


def texts(*raw: str, since: str | None = None) -> list[str]:
    log = RunnerLog(KEY, since=since)
    return [line.text for each in raw for line in log.feed(each)]


class TestLines:
    def test_lines_without_a_frame_are_kept(self) -> None:
        log = RunnerLog(KEY)
        for raw in ("exec format error", "o1 a", "o1 a", "o2 b"):
            log.feed(raw)
        assert [line.text for line in log.lines()] == ["exec format error", "a", "b"]
        assert [line.text for line in log.lines("0.0.1")] == ["a", "b"]

    def test_a_cursor_survives_a_log_that_lost_its_beginning(self) -> None:
        """And one that a runner of an earlier Cortex wrote, which numbered lines."""
        log = RunnerLog(KEY)
        for raw in ("o7 seven", "o8 eight", "e2 two"):
            log.feed(raw)
        assert [line.text for line in log.lines("7.1.0")] == ["eight", "two"]

    def test_pieces_are_joined(self) -> None:
        assert texts("o1+one ", "e1+two ", "o2+line", "e2 lines", "o3 ") == [
            "two lines",
            "one line",
        ]

    @pytest.mark.parametrize("char", ["\f", "\v", "\x1c", "\x85", "\u2028", "\u2029", "\t", "\x1b"])
    def test_only_a_newline_ends_a_line(self, char: str) -> None:
        assert texts(f"o1 a{char}b") == [f"a{char}b"]

    def test_nul_is_no_letter(self) -> None:
        assert texts("o1 a\0b", "\0") == ["a\ufffdb", "\ufffd"]

    def test_of_a_progress_bar_the_last_state_is_the_line(self) -> None:
        bar = ("o1+10%", "o2-20%", "o3-3", "o4+0%", "o5 ", "o6+a", "o7=b")
        assert texts(*bar) == ["30%", "b"]

    def test_an_older_runner_told_carriage_returns_as_they_were(self) -> None:
        assert texts("o6 10%\r20%\r", "o7 c\r") == ["20%", "c"]

    def test_a_long_line_is_given_as_several_and_nothing_is_lost(self) -> None:
        pieces = ["x" * 15_000 + "ü"] * 40
        raw = [f"o{n}+{piece}" for n, piece in enumerate(pieces, 1)]
        printed = texts(*raw, "o50 end")
        assert "".join(printed) == "".join(pieces) + "end"
        assert len(printed) == 3
        assert all(len(text.encode()) <= MAX_LINE for text in printed)

    def test_a_long_line_without_a_frame(self) -> None:
        printed = texts("é" * 300_000, "next")
        assert "".join(printed) == "é" * 300_000 + "next"
        assert [len(text.encode()) for text in printed] == [MAX_LINE, MAX_LINE, 75_712, 4]

    def test_every_cursor_resumes(self) -> None:
        raw = ["shell says", "o1+a", "e1+b", "o2 a", "x", "e2+" + "y" * 200_000, "o3 c"]
        raw += ["e3+" + "z" * 200_000, "e4 ", "o4 d", END]
        log = RunnerLog(KEY)
        whole = [line for each in raw for line in log.feed(each)]
        assert len(whole) == 7
        for place, line in enumerate(whole):
            rest = texts(*raw, since=line.cursor)
            assert rest == [line.text for line in whole[place + 1 :]]
            assert [line.text for line in log.lines(line.cursor)] == rest

    def test_a_cursor_that_is_none_is_the_beginning(self) -> None:
        for cursor in ("", "nonsense", "1.2", "1.2.x", "1.2.\u0663"):
            assert texts("o1 a", since=cursor) == ["a"]


class TestPartials:
    def test_a_line_that_has_begun_is_told_once_for_each_change(self) -> None:
        log = RunnerLog(KEY)
        log.feed("o1 a")
        log.feed("o2+10%")
        (line,) = log.partials()
        assert (line.text, line.partial, line.cursor) == ("10%", True, "1.0.0")
        assert log.partials() == []
        log.feed("o3-20%")
        assert [line.text for line in log.partials()] == ["20%"]
        log.feed("o4 ")
        assert log.partials() == []
        assert [line.text for line in log.lines()] == ["a", "20%"]

    def test_the_end_ends_all_lines(self) -> None:
        log = RunnerLog(KEY)
        log.feed("o1+half a")
        log.feed("e1+half b")
        assert log.result is None
        assert [line.text for line in log.feed(END)] == ["half a", "half b"]
        assert log.result is not None

    def test_a_log_that_broke_off_is_told_from_one_that_ended(self) -> None:
        """Nothing of the command's own output looks like the end mark, whole or in part."""
        log = RunnerLog(KEY)
        for raw in ("o1 begun", f"o2 {END}", f"e1 {END}", END[:-20], "o3+last"):
            log.feed(raw)
        assert log.result is None
        assert [line.text for line in log.rest()] == ["last"]
        log.feed(END)
        log.feed(END)  # told again after a restart
        assert log.result is not None
        assert log.result.exit_code == 0
