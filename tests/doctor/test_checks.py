"""All of it at once, and how it is printed."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from cortex.doctor import __main__ as program
from cortex.doctor.checks import examine
from cortex.doctor.findings import Finding, Verdict, fault, fine, warning
from cortex.settings import ApiSettings, DatabaseSettings, Settings, TemporalSettings


async def test_nothing_but_the_database_is_there(database_url: str, tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        temporal=TemporalSettings(address="127.0.0.1:1"),
        api=ApiSettings(port=1),
        encryption_keys=SecretStr("k1:none:abc"),
    )
    found = {finding.name: finding for finding in await examine(settings, "cortex up")}
    assert found["schema"].verdict == Verdict.OK
    assert found["temporal"].verdict == Verdict.FAULT
    assert "start it (`cortex up`), or correct" in found["temporal"].fix
    assert found["key ring"].verdict == Verdict.FAULT
    assert found["providers"].verdict == Verdict.FAULT
    assert found["api"].verdict == Verdict.WARNING


class TestPrinted:
    @pytest.fixture
    def findings(self, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
        findings = [fine("disk", "much is free")]

        async def found(_: Settings, __: str | None) -> list[Finding]:
            return findings

        monkeypatch.setattr(program, "examine", found)
        return findings

    def printed(self, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[str, int]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["doctor", *args])
            with pytest.raises(SystemExit) as ended:
                program.main()
        return capsys.readouterr().out, int(ended.value.code or 0)

    def test_all_is_well(self, findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
        assert self.printed(capsys) == ("ok       disk  much is free\n\nall is well\n", 0)

    def test_a_warning_is_no_failure(
        self, findings: list[Finding], capsys: pytest.CaptureFixture[str]
    ) -> None:
        findings.append(warning("role", "`postgres` is a superuser", "make another"))
        out, code = self.printed(capsys)
        assert code == 0
        assert "warning  role  `postgres` is a superuser\n               -> make another\n" in out
        assert out.endswith("\nno faults, 1 warning\n")

    def test_a_fault_is(self, findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
        findings += [fault("a", "x", "y"), fault("b", "x", "y")]
        out, code = self.printed(capsys)
        assert (code, out.endswith("\n2 faults, no warnings\n")) == (1, True)

    def test_as_json_a_line_each(
        self, findings: list[Finding], capsys: pytest.CaptureFixture[str]
    ) -> None:
        findings.append(fault("a", "x", "y"))
        out, code = self.printed(capsys, "--json")
        assert [json.loads(line) for line in out.splitlines()] == [
            {"name": "disk", "verdict": "ok", "detail": "much is free", "fix": ""},
            {"name": "a", "verdict": "fault", "detail": "x", "fix": "y"},
        ]
        assert code == 1
