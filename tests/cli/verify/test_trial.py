"""The two jobs: what the first one really does, how its log is judged, what both may cost."""

import hashlib
import subprocess
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cli.verify.trial import (
    FILE,
    Line,
    Plan,
    command_digest,
    command_lines,
    command_script,
    log_differences,
)
from cortex.domain.money import Money
from cortex.domain.providers.inspection import Trial

MARK = "cortex-verify-0815"
LINES = command_lines(MARK)


def plan(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "id": "0815",
        "provider_id": "akash-main",
        "trial": Trial(),
        "budget": Money.model_validate("0.50 USD"),
        "duration": timedelta(minutes=10),
        "image": "busybox:1.36",
        **changes,
    }
    return Plan(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("shell", [["sh"], ["bash", "--posix"]])
def test_the_command_does_what_is_expected_of_it(shell: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*shell, "-c", command_script(MARK)], capture_output=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 7
    seen: list[Line] = [("stdout", text) for text in done.stdout.decode().splitlines()]
    seen += [("stderr", text) for text in done.stderr.decode().splitlines()]
    assert seen == LINES
    assert hashlib.sha256((tmp_path / FILE).read_bytes()).hexdigest() == command_digest()
    assert max(len(text) for _, text in LINES) > 16384


def swapped(lines: list[Line]) -> list[Line]:
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


def cut(lines: list[Line]) -> list[Line]:
    return [(stream, text[:4096]) for stream, text in lines]


def latin(lines: list[Line]) -> list[Line]:
    return [(s, text.encode().decode("latin-1")) for s, text in lines]


def merged(lines: list[Line]) -> list[Line]:
    return [("stdout", text) for _, text in lines]


class TestLog:
    def test_of_a_good_one(self) -> None:
        assert log_differences(MARK, LINES) == []
        others: list[Line] = [("stdout", "pulled the image"), ("cortex", "note")]
        assert log_differences(MARK, [*others, *LINES, *others]) == []
        # How both streams mix is not told by every network.
        assert log_differences(MARK, [*LINES[-3:], *LINES[:-3]]) == []

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda lines: [], "none of the 43 lines is there"),
            (lambda lines: lines[:-4], "stderr missing"),
            (lambda lines: lines[1:], "1 of 40 lines of stdout missing: `out 1 plain`"),
            (lambda lines: [*lines, lines[7]], "1 lines of stdout come twice"),
            (swapped, "the lines of stdout are out of order"),
            (cut, "1 lines of stdout not as printed: `out 3 0123456789abcdef"),
            (latin, "1 lines of stderr not as printed: `err 2 GrÃ¼"),
            (merged, "3 of the 3 lines of stderr came on the other stream"),
        ],
    )
    def test_of_a_bad_one(self, change: Callable[[list[Line]], list[Line]], told: str) -> None:
        assert told in "; ".join(log_differences(MARK, change(LINES)))


class TestMoney:
    def test_both_jobs_stay_within_the_budget(self) -> None:
        specs = [plan().spec("command"), plan().spec("stop")]
        for spec in specs:
            assert str(spec.budget) == "0.25 USD"
            assert str(spec.placement.max_price) == "1.5 USD"
            assert spec.placement.providers == ("akash-main",)
            assert (spec.retries.on_failure, spec.retries.on_lost) == (0, 0)
            assert spec.labels["cortex.verify"] == "akash-main"
        assert [bool(spec.outputs) for spec in specs] == [True, False]

    @pytest.mark.parametrize("budget", ["0.01", "0.33", "7", "1000"])
    @pytest.mark.parametrize("minutes", [1, 7, 360])
    def test_the_highest_price_keeps_to_it(self, budget: str, minutes: int) -> None:
        made = plan(
            budget=Money.model_validate(f"{budget} USD"), duration=timedelta(minutes=minutes)
        )
        whole = 2 * made.max_price().amount * Decimal(minutes) / 60
        assert 0 < whole <= Decimal(budget)

    def test_a_long_id_makes_a_name_all_the_same(self) -> None:
        assert plan(provider_id="a" * 39 + "-" + "b" * 20).spec("stop").name.endswith("a-stop")
