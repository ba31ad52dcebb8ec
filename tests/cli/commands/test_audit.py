"""`cortex audit` against a real API; Temporal is away."""

import json
from pathlib import Path

import httpx
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import KEY, serve, spec
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


async def test_it_lists_exports_and_verifies(
    settings: Settings, providers: None, database: Database, tmp_path: Path
) -> None:
    async with serve(settings) as (url, _):
        shown = await call(url, "audit", "list", "--done")
        assert "there is no such entry" in shown.output
        async with httpx.AsyncClient(base_url=url, headers={"x-api-key": KEY}) as http:
            job_id = (await http.post("/api/v1/jobs", json=spec())).json()["id"]
            await http.post(f"/api/v1/jobs/{job_id}/cancel", json={"reason": "no need"})

        shown = await call(url, "audit", "list", "--action", "job.cancel")
        for words in ("local", "127.0.0.1", "job.cancel", job_id, "done", "no need"):
            assert words in shown.output, words
        target = tmp_path / "audit.jsonl"
        shown = await call(url, "audit", "export", "-o", str(target), "--subject", job_id)
        assert shown.exit_code == 0, shown.output
        entries = [json.loads(line) for line in target.read_text().splitlines()]
        assert {entry["subject"] for entry in entries} == {job_id}
        assert f"{len(entries)} rows were written" in shown.output

        shown = await call(url, "audit", "verify")
        assert (shown.exit_code, "each as it was written" in shown.output) == (0, True)
        head = shown.output.splitlines()[-1].removeprefix("head ")
        assert (await call(url, "audit", "verify", "--known", head)).exit_code == 0
        shown = await call(url, "audit", "verify", "--known", "7")
        assert (shown.exit_code, "`NUMBER:SEAL`" in shown.output) == (2, True)

        async with database.transaction() as tx:
            for statement in (
                "ALTER TABLE audit_log DISABLE TRIGGER USER",
                f"UPDATE audit_log SET actor = 'somebody' WHERE subject = '{job_id}'",
            ):
                await tx.connection.execute(text(statement))
        shown = await call(url, "audit", "verify")
        assert shown.exit_code == 1
        assert "the entry or its seal was changed" in shown.output
        assert "tampered with" in shown.output
