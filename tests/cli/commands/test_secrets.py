"""`cortex secrets` against a real API; Temporal is away."""

import json
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import KEY, serve, spec
from tests.cli.commands.test_trace import call
from tests.security.vault_server import FakeVault, serving

__all__ = ["providers", "settings"]


async def test_status(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        shown = await call(url, "secrets", "status")
        assert "nothing is encrypted yet; `k1` will be the key" in shown.output
        async with httpx.AsyncClient(base_url=url, headers={"x-api-key": KEY}) as http:
            await http.post("/api/v1/jobs", json=spec(secret_env={"TOKEN": "t0p"}))
        shown = await call(url, "secrets", "status")
        assert shown.exit_code == 0
        assert "all of it is under the newest key, `k1`" in shown.output
        shown = await call(url, "secrets", "rotate")
        assert "they do it by themselves within an hour" in shown.output
    other = settings.model_copy(update={"encryption_keys": None})
    async with serve(other) as (url, _):
        shown = await call(url, "secrets", "status")
        assert shown.exit_code == 1
        assert "1 cannot be opened: put their key back" in shown.output


async def test_named_ones(
    settings: Settings, providers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(settings) as (url, _):
        assert "there is no secret" in (await call(url, "secrets", "list")).output
        shown = await call(url, "secrets", "set", "hf-token", stdin="hush-1\n")
        assert "secret `hf-token` of `local` was set" in shown.output
        file = tmp_path / "key.pem"
        file.write_text("line 1\nline 2\n")
        shown = await call(url, "secrets", "set", "pem", "--from-file", str(file))
        assert shown.exit_code == 0
        monkeypatch.setenv("THE_TOKEN", "hush-2")
        shown = await call(url, "secrets", "set", "hf-token", "--from-env", "THE_TOKEN")
        assert "was set anew (version 2)" in shown.output
        shown = await call(url, "secrets", "list")
        rows = [line.split() for line in shown.output.splitlines()[1:]]
        assert [(row[0], row[1], row[2]) for row in rows] == [
            ("hf-token", "local", "local"),
            ("pem", "local", "local"),
        ]
        assert "hush" not in shown.output
        job = tmp_path / "job.json"
        env = {"TOKEN": {"secret": "hf-token"}, "PEM": {"secret": "pem"}, "OTHER": "x"}
        job.write_text(json.dumps(spec(secret_env=env)))
        for command in ("validate", "submit"):
            assert (await call(url, command, str(job))).exit_code == 0, command
        made = (await call(url, "--json", "jobs")).stdout.splitlines()
        job_id = json.loads(next(line for line in made if line.startswith("{")))["id"]
        shown = await call(url, "job", job_id)
        line = next(line for line in shown.output.splitlines() if line.startswith("secrets"))
        assert set(line.split()[1:]) == {"TOKEN=`hf-token`", "PEM=`pem`", "OTHER"}
        assert "hush" not in shown.output
        stored = KeyRing.from_setting(settings.encryption_keys).decrypt(
            await _sealed(settings, job_id), job_id
        )
        assert stored == {"TOKEN": "hush-2", "PEM": "line 1\nline 2\n", "OTHER": "x"}
        shown = await call(url, "secrets", "delete", "pem")
        assert "secret `pem` was taken away" in shown.output
        shown = await call(url, "submit", str(job))
        assert (shown.exit_code, "there is no secret `pem`" in shown.output) == (2, True)


async def test_a_value_that_is_none(settings: Settings, providers: None, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"\xff\xfe")
    async with serve(settings) as (url, _):
        for options, why in (
            ((), "stdin is empty"),
            (("--from-env", "NO_SUCH_VARIABLE"), "`NO_SUCH_VARIABLE` is not set"),
            (("--from-file", str(tmp_path / "none")), "No such file"),
            (("--from-file", str(tmp_path / "blob")), "is no UTF-8 text"),
            (("--from-file", "a", "--from-env", "b"), "give either"),
        ):
            shown = await call(url, "secrets", "set", "t", *options)
            assert (shown.exit_code, why in shown.output) == (2, True), shown.output


async def test_of_another_project(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        await call(url, "projects", "create", "vision")
        for project in ("--project", "vision"), ():
            shown = await call(url, *project, "secrets", "set", "t", stdin="v")
            assert shown.exit_code == 0, shown.output
        shown = await call(url, "--json", "secrets", "list", "--project", "vision")
        assert json.loads(shown.output)["project"] == "vision"


async def _sealed(settings: Settings, job_id: str) -> bytes:
    database = Database(settings.database)
    try:
        async with database.reading() as tx:
            query = text("SELECT secrets FROM jobs WHERE id = :id")
            return bytes((await tx.connection.execute(query, {"id": job_id})).scalar_one())
    finally:
        await database.aclose()


async def test_a_new_key_of_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = await call("http://127.0.0.1:1", "secrets", "new-key", "k2")
    (entry,) = shown.stdout.split()
    assert KeyRing.from_setting(SecretStr(entry)).newest == "k2"
    with serving(FakeVault()) as vault:
        monkeypatch.setenv("CORTEX_KMS__VAULT__ADDRESS", vault.url)
        monkeypatch.setenv("CORTEX_KMS__VAULT__TOKEN", "root-token")
        words = ("--json", "secrets", "new-key", "k3", "--service", "vault")
        shown = await call("http://127.0.0.1:1", *words)
        assert json.loads(shown.stdout)["entry"].startswith("k3:vault:v1:")
    shown = await call("http://127.0.0.1:1", "secrets", "new-key", "k3", "--service", "vault")
    assert (shown.exit_code, "does not answer" in shown.output) == (2, True)
