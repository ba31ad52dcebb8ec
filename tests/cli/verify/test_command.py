"""What becomes of a verification whose server goes away."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.commands.verify import Options, _Whole
from cli.state import State
from cli.verify.model import Result, Step, VerifyReport
from cli.verify.session import Session
from cortex.client import AsyncCortex, ConnectionFailed
from cortex.domain.money import Money
from cortex.schemas.providers import ProviderView


async def test_it_is_no_success(tmp_path: Path) -> None:
    view = ProviderView(
        id="x", type="null", enabled=True, status="online", updated_at=datetime.now(UTC)
    )
    report = tmp_path / "report.json"
    budget = Money.model_validate("0.5 USD")
    options = Options("x", budget, None, None, report, yes=True)
    async with AsyncCortex("http://127.0.0.1:1", "key") as cortex:
        session = Session(cortex, tell=lambda _: None, watch=lambda _: None)
        session.view = view
        session.add(Step(name="account", result=Result.OK))
        whole = _Whole(State(json=True, data_dir=tmp_path), options, cortex, session)
        await whole.broke(ConnectionFailed("http://127.0.0.1:1", "no server there"))
        with pytest.raises(ConnectionFailed):
            await whole.close()
    told = VerifyReport.model_validate_json(report.read_text())
    assert told.verdict == "could not run"
    assert "no server there" in told.summary
