"""Errors that nobody expects: logged, and told without what is inside."""

from typing import Any

import httpx
import pytest

from cortex.services.accounts.ownership import Ownership
from cortex.services.jobs.queries import Queries
from tests.api.graphql.support import ask


class TestUnexpected:
    @pytest.mark.parametrize("where", ["resolver", "answer"])
    async def test_tells_nothing_internal(
        self,
        client: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        where: str,
    ) -> None:
        async def broken(*_: Any, **__: Any) -> str:
            if where == "resolver":
                raise RuntimeError("the password is swordfish")
            return '{"id": "x"}'  # fields that are never null are missing

        monkeypatch.setattr(Queries, "job", broken)
        query = '{ job(id: "job_00000000000000000000000000") { id name } }'
        monkeypatch.setattr(Ownership, "require", broken)
        answer = await ask(client, query)
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "internal_error"
        assert error["message"].startswith("something went wrong in the server")
        assert "swordfish" not in str(answer)
        logged = capsys.readouterr().out
        assert "graphql.failed" in logged
        assert error["extensions"]["correlation_id"] in logged
