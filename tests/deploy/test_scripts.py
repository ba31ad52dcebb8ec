"""The shell scripts of the containers: linted, and run against real servers, twice."""

import base64
import os
import stat
import subprocess
import sysconfig
from pathlib import Path

import psycopg
import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from cortex.embedded.temporal import temporal_binary
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from cortex.temporal.client import prepare_namespace
from tests.deploy.servers import (
    DEPLOY,
    ROOT,
    Server,
    init_environment,
    plain_environment,
    run_script,
)

_SCRIPTS = sorted([*DEPLOY.rglob("*.sh"), *(ROOT / "scripts").rglob("*.sh"), ROOT / ".ci/run"])


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
class TestEveryScript:
    def test_shellcheck(self, script: Path) -> None:
        done = subprocess.run(
            [str(Path(sysconfig.get_path("scripts")) / "shellcheck"), str(script)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def test_stops_at_the_first_error(self, script: Path) -> None:
        text = script.read_text()
        assert "\nset -eu" in text
        assert script.stat().st_mode & stat.S_IXUSR


class TestMakeSecrets:
    def test_the_folder_is_closed_and_the_files_can_be_mounted(self, tmp_path: Path) -> None:
        folder = tmp_path / "secrets"
        self._run(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}

    def test_what_is_there_stays(self, tmp_path: Path) -> None:
        folder = tmp_path / "secrets"
        self._run(folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert self._run(folder) == ""
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def test_each_folder_gets_secrets_of_its_own(self, tmp_path: Path) -> None:
        self._run(tmp_path / "one")
        self._run(tmp_path / "two")
        for path in (tmp_path / "one").iterdir():
            assert path.read_bytes() != (tmp_path / "two" / path.name).read_bytes()

    def test_the_key_ring_takes_the_keys(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "secrets"
        self._run(folder)
        monkeypatch.setenv("CORTEX_SECRETS_DIR", str(folder))
        settings = Settings()
        ring = KeyRing.from_setting(settings.encryption_keys)
        assert ring.decrypt(ring.encrypt({"A": "b"}, "here"), "here") == {"A": "b"}
        _, _, key = (folder / "cortex_encryption_keys").read_text().partition(":")
        assert len(base64.b64decode(key)) == 32

    @staticmethod
    def _run(folder: Path) -> str:
        return run_script(
            DEPLOY / "make-secrets.sh", env=plain_environment(), arguments=(str(folder),)
        )


@pytest.mark.integration
class TestDatabases:
    def test_each_role_gets_into_its_own_only(self, postgres: Server) -> None:
        for role, own in (
            ("temporal", ("temporal", "temporal_visibility")),
            ("cortex", ("cortex",)),
        ):
            for database in ("temporal", "temporal_visibility", "cortex"):
                if database in own:
                    with self._connect(postgres, role, database) as connection:
                        connection.execute("CREATE TABLE probe (); DROP TABLE probe")
                else:
                    with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
                        self._connect(postgres, role, database).close()

    def test_no_role_is_a_superuser(self, postgres: Server) -> None:
        for role in ("temporal", "cortex"):
            with self._connect(postgres, role, role) as connection:
                row = connection.execute(
                    "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles "
                    "WHERE rolname = current_user"
                ).fetchone()
                assert row == (False, False, False)

    def test_running_it_again_changes_nothing(self, postgres: Server) -> None:
        with self._connect(postgres, "cortex", "cortex") as connection:
            connection.execute("CREATE TABLE kept ()")
        script = DEPLOY / "postgres/10-databases.sh"
        run_script(script, env=init_environment(postgres.port, postgres.secrets))
        with self._connect(postgres, "cortex", "cortex") as connection:
            connection.execute("DROP TABLE kept")

    @staticmethod
    def _connect(server: Server, role: str, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=server.port,
            user=role,
            dbname=database,
            password=(server.secrets / f"{role}_db_password").read_text(),
        )


@pytest.mark.integration
class TestNamespace:
    async def test_it_is_what_workers_want_and_may_be_made_again(self, temporal: Server) -> None:
        folder = Path(temporal_binary()).parent
        env = plain_environment(
            PATH=f"{folder}{os.pathsep}{os.environ['PATH']}",
            TEMPORAL_ADDRESS=temporal.address,
            TEMPORAL_NAMESPACE="cortex",
            RETENTION="720h",
        )
        for _ in range(2):
            run_script(DEPLOY / "temporal/namespace.sh", env=env)

        client = await Client.connect(temporal.address, namespace="cortex")
        described = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace="cortex")
        )
        kept = described.config.workflow_execution_retention_ttl.ToTimedelta()
        assert kept == Settings().temporal.retention
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace="cortex")
        )
        ours = {n: k for n, k in listed.custom_attributes.items() if n.startswith("Cortex")}
        assert ours["CortexLabels"] == IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST
        assert len(ours) == 5
        # Compares the types and would refuse others.
        await prepare_namespace(client, kept)
