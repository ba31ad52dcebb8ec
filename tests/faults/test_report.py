"""The report: what it collects, and that it is red when anything is."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.faults.report import REPORT, Row, read, record, table, verdict

CLEAN = Row(part="crash points", scenario="success", boundaries=40, faults=40, jobs=40, seconds=2.5)


class TestRows:
    def test_are_collected_in_the_named_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "rows"
        record(CLEAN)  # nobody asks for it
        monkeypatch.setenv(REPORT, str(file))
        record(CLEAN)
        record(Row(part="chaos", scenario="storm", jobs=1000, seed="4711"))
        assert [row.part for row in read(file)] == ["crash points", "chaos"]

    def test_are_added_up(self) -> None:
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(table([CLEAN, CLEAN.model_copy(update={"boundaries": 2, "leaks": 1})]))
        (total,) = [line for line in console.export_text().splitlines() if " all " in line]
        assert [cell.strip() for cell in total.split("│")[2:6]] == ["2", "42", "80", "80"]


class TestVerdict:
    @pytest.mark.parametrize("what", ["leaks", "losses", "double_charges"])
    def test_one_violation_is_enough(self, what: str) -> None:
        assert verdict([CLEAN], tests_passed=True) == 0
        assert verdict([CLEAN, CLEAN.model_copy(update={what: 1})], tests_passed=True) == 1

    def test_no_rows_and_failed_tests_are_no_success(self) -> None:
        assert verdict([], tests_passed=True) == 1
        assert verdict([CLEAN], tests_passed=False) == 1
