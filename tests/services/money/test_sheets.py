"""CSV: what is in a cell comes out of it again, and no cell is a formula."""

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind, LedgerEntry
from cortex.schemas.money import CostReport, CostRow
from cortex.services.money.sheets import LEDGER_HEADING, ledger_rows, report_csv
from cortex.services.sheets import csv_text


def back(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


class TestQuoting:
    @pytest.mark.parametrize(
        "text", ["a,b", 'say "hi"', "two\nlines", "two\r\nlines", "ünï", " spaces ", "", "'quoted"]
    )
    def test_comes_out_as_it_was(self, text: str) -> None:
        assert back(csv_text([("a", text, "b")])) == [["a", text, "b"]]

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
    def test_no_formula(self, text: str) -> None:
        assert back(csv_text([(text,)])) == [[f"'{text}"]]

    def test_lines_end_as_the_rfc_says(self) -> None:
        assert csv_text([("a", "b"), ("c", "d")]) == "a,b\r\nc,d\r\n"

    def test_amounts_have_all_digits_and_no_exponent(self) -> None:
        amounts = (Decimal("0.000000000000000001"), Decimal("1E+3"), Decimal("2.50"), Decimal(-1))
        assert back(csv_text([amounts])) == [["0.000000000000000001", "1000", "2.5", "-1"]]

    def test_times_are_in_utc(self) -> None:
        time = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
        assert back(csv_text([(time,)])) == [["2025-12-31T23:30:00.000000Z"]]


class TestSheets:
    def test_ledger(self) -> None:
        entry = LedgerEntry(
            id="led_1",
            job_id="job_1",
            lease_key="job_1-1",
            provider_id="akash",
            kind=EntryKind.CHARGE,
            amount=Money.model_validate("3 AKT"),
            usd_rate="0.5",
            note="by hand, because",
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        (row,) = back(csv_text(ledger_rows([entry])))
        line = dict(zip(LEDGER_HEADING, row, strict=True))
        assert (line["amount"], line["usd_rate"], line["usd"]) == ("3", "0.5", "1.5")
        assert (line["note"], line["lease"]) == ("by hand, because", "job_1-1")

    def test_report_has_a_column_per_key(self) -> None:
        row = CostRow(
            group="2026-01-01 / =cmd",
            keys=("2026-01-01", "=cmd"),
            jobs=2,
            charged=Money.model_validate("1.5 USD"),
            held=Money.zero(),
            charged_usd=Decimal("1.5"),
        )
        report = CostReport(group_by="day,label:team", rows=(row,), total=())
        heading, line = back(report_csv(report))
        assert heading[:4] == ["day", "label:team", "currency", "jobs"]
        assert line == ["2026-01-01", "'=cmd", "USD", "2", "1.5", "0", "1.5", "0"]
