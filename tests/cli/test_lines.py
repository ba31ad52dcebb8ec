"""Printing lines that have not ended, on a terminal."""

from datetime import UTC, datetime
from typing import Literal

import pytest

from cli.lines import LinePrinter, live
from cortex.schemas.jobs import LogEntry

CLEAR = "\r\x1b[K"


def entry(
    text: str, stream: Literal["stdout", "stderr"] = "stdout", *, partial: bool = False
) -> LogEntry:
    return LogEntry(
        cursor="1:1",
        time=datetime.now(UTC),
        attempt=1,
        stream=stream,
        text=text,
        partial=partial,
    )


def test_a_line_is_written_over_until_it_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LinePrinter()
    for line in (entry("a"), entry("1%", partial=True), entry("2%", partial=True), entry("3%")):
        printer.show(line)
    printer.finish()
    assert capsys.readouterr().out == f"a\n1%{CLEAR}2%{CLEAR}3%\n"


def test_a_prompt_stays_below_what_comes_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LinePrinter()
    printer.show(entry("Name: ", partial=True))
    printer.show(entry("warning", "stderr"))
    printer.clear()  # an event is printed
    printer.again()
    printer.finish()
    printed = capsys.readouterr()
    assert printed.out == f"Name: {CLEAR}Name: {CLEAR}Name: \n"
    assert printed.err == "warning\n"


def test_only_what_fits_into_a_row_can_be_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    LinePrinter().show(entry("x" * 1000 + "end", partial=True))
    assert capsys.readouterr().out == "x" * 76 + "end"
    assert not live()
