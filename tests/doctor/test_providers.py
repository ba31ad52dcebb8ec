"""What the last health checks of providers tell."""

from datetime import UTC, datetime, timedelta

import pytest

from cortex.doctor.database import Provider
from cortex.doctor.findings import Verdict
from cortex.doctor.providers import check_providers

_NOW = timedelta(0)


@pytest.mark.parametrize(
    ("status", "age", "verdict", "said"),
    [
        ("online", _NOW, Verdict.OK, "online"),
        ("degraded", _NOW, Verdict.WARNING, "degraded: slow"),
        ("offline", _NOW, Verdict.FAULT, "offline: slow"),
        ("online", timedelta(hours=2), Verdict.WARNING, "checked last at"),
        ("offline", None, Verdict.WARNING, "checked never"),
    ],
)
def test_by_status_and_age(status: str, age: timedelta | None, verdict: Verdict, said: str) -> None:
    at = None if age is None else datetime.now(UTC) - age
    message = "" if status == "online" else "slow"
    (found,) = check_providers([Provider("akash", status, message, at)])
    assert (found.name, found.verdict) == ("provider akash", verdict)
    assert said in found.detail
    assert bool(found.fix) == (verdict != Verdict.OK)


def test_none_at_all() -> None:
    (found,) = check_providers([])
    assert (found.verdict, "cortex provider add" in found.fix) == (Verdict.FAULT, True)


def test_not_known() -> None:
    (found,) = check_providers(None)
    assert found.verdict == Verdict.UNKNOWN
