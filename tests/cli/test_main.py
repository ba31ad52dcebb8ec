"""The command itself, as a process: exit codes, streams, speed, plain output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.lazy import COMMANDS
from tests.support import soon
from tests.support.command import REPO, cortex


class TestHelp:
    def test_is_quick_and_loads_nothing_heavy(self) -> None:
        with soon(1):  # 0.2 s
            done = subprocess.run(
                [sys.executable, "-m", "cli.main", "--help"],
                capture_output=True,
                text=True,
                cwd=REPO,
                check=False,
            )
        assert done.returncode == 0
        assert "Run jobs on decentralised compute networks" in done.stdout
        code = (
            "import sys, cli.main, cli.commands.submit, cli.commands.stack\n"
            "heavy = {'temporalio', 'sqlalchemy', 'alembic', 'fastapi'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, timeout=60)

    def test_help_alone_loads_no_command(self) -> None:
        code = (
            "import sys\nfrom cli.main import app\n"
            "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
            "assert not {'httpx', 'pydantic', 'yaml'} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize(
        "name",
        list(COMMANDS),
    )
    def test_every_command_has_help(self, name: str, tmp_path: Path) -> None:
        if name in ("api", "worker"):  # hand it on
            return
        done = cortex(name, "--help", folder=tmp_path)
        assert done.returncode == 0
        assert "\033[" not in done.stdout


class TestTrouble:
    def test_no_server(self, tmp_path: Path) -> None:
        for args in (["jobs"], ["logs", "@last"], ["submit", "examples/hello.yaml"]):
            done = cortex(*args, folder=tmp_path)
            assert done.returncode == 3
            assert "start one with `cortex up`" in done.stderr
            assert done.stdout == ""

    def test_server_away(self, tmp_path: Path) -> None:
        done = cortex("--json", "jobs", folder=tmp_path, CORTEX_URL="http://127.0.0.1:1")
        assert done.returncode == 3
        assert done.stdout == ""
        assert json.loads(done.stderr)["error"]["code"] == "unreachable"

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (["run"], "nothing to run"),
            (["run", "nothing.yaml"], "there is no file `nothing.yaml`"),
            (["run", "--cpu", "-1", "--", "true"], "--cpu: `resources.cpu` must be greater"),
            (
                ["run", "--memory", "5x", "--", "true"],
                "--memory: `resources.memory` `5x` is no size",
            ),
            (["run", "--budget", "5", "--", "true"], "currency"),
            (["run", "--", ""], "must begin with a program"),
            (["run", "--image", "x", "--set", "foo=1"], "`foo` is not a known field"),
            (["validate", "-"], "<stdin>:2:1: no valid YAML"),
            (["jobs", "--state", "nope"], "--state `nope`"),
            (["jobs", "--since", "nope"], "--since `nope`"),
            (["cost", "--by", "nope"], "--by `nope`"),
            (["extend", "x", "5q"], "is no duration"),
            (["nope"], "No such command"),
            (["jobs", "--nope"], "No such option"),
            (["--url", "localhost", "jobs"], "no server URL"),
        ],
    )
    def test_bad_input(self, args: list[str], words: str, tmp_path: Path) -> None:
        done = cortex(*args, folder=tmp_path, stdin="a: b\n\tc: d")
        expected = 3 if args[0] == "--url" else 2
        assert done.returncode == expected
        assert words in done.stderr
        assert done.stdout == ""
        assert not list(tmp_path.iterdir())

    def test_broken_settings(self, tmp_path: Path) -> None:
        done = cortex("config", folder=tmp_path, CORTEX_API__PORT="nope")
        assert done.returncode == 1
        assert "api.port" in done.stderr
        assert "Traceback" not in done.stderr


class TestWithoutServer:
    def test_validate_local(self, tmp_path: Path) -> None:
        done = cortex("--json", "validate", "--local", "examples/batch.yaml", folder=tmp_path)
        names = [json.loads(line)["name"] for line in done.stdout.splitlines()]
        assert names == ["squares-1", "squares-2", "squares-3"]

    def test_schema(self, tmp_path: Path) -> None:
        assert "resources" in json.loads(cortex("schema", folder=tmp_path).stdout)["properties"]
        assert cortex("schema", "--json", folder=tmp_path).stdout.count("\n") == 1

    def test_version(self, tmp_path: Path) -> None:
        done = cortex("version", "--json", folder=tmp_path)
        assert json.loads(done.stdout)["server"] is None

    def test_status_when_nothing_runs(self, tmp_path: Path) -> None:
        done = cortex("status", "--json", folder=tmp_path)
        assert done.returncode == 3
        assert json.loads(done.stdout)["stack"]["running"] is False

    def test_status_says_in_words_that_the_disk_is_full(self, tmp_path: Path) -> None:
        (tmp_path / "stack.json").write_text('{"simulators": false}')
        done = cortex("status", folder=tmp_path, CORTEX_DISK__KEEP_FREE="9999Ti")
        told = next(line for line in done.stdout.splitlines() if line.startswith("warning"))
        assert f"MiB are free in {tmp_path}, and 9999Ti are kept free" in told
        assert f"Free some space there: {tmp_path}/outputs has the results of jobs" in told
        assert "warning" not in cortex("status", folder=tmp_path).stdout

    def test_down_when_nothing_runs(self, tmp_path: Path) -> None:
        done = cortex("down", folder=tmp_path)
        assert done.returncode == 0
        assert "nothing was running" in done.stderr

    def test_config_says_where_from_and_hides_secrets(self, tmp_path: Path) -> None:
        toml = tmp_path / "c.toml"
        toml.write_text(
            "[worker]\nmax_activities = 7\n"
            '[providers.far]\ntype = "akash"\napi_key = "hidden-1"\nurl = "http://x"\n'
        )
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        (secrets / "cortex_database__url").write_text("postgresql://u:hidden-2@h/d")
        env = {
            "CORTEX_CONFIG": str(toml),
            "CORTEX_SECRETS_DIR": str(secrets),
            "CORTEX_API__KEY": "hidden-3",
            "CORTEX_API__PORT": "9999",
        }
        done = cortex("config", "--json", folder=tmp_path, stdin="", **env)
        settings = {
            setting["name"]: setting for setting in map(json.loads, done.stdout.splitlines())
        }
        assert "hidden" not in done.stdout
        assert settings["api.port"]["value"] == "9999"
        assert settings["api.port"]["source"] == "CORTEX_API__PORT"
        assert settings["api.key"]["source"] == "CORTEX_API__KEY"
        assert settings["worker.max_activities"]["source"] == str(toml)
        assert settings["providers.far.url"]["source"] == str(toml)
        assert settings["database.url"]["source"] == f"secrets folder {secrets}"
        assert settings["api.host"]["source"] == "default"

    def test_config_shows_no_secret_of_a_url(self, tmp_path: Path) -> None:
        toml = tmp_path / "cortex.toml"
        toml.write_text(
            """
            [plugins.rabbitmq]
            url = "amqps://cortex:hidden-1@broker.example.com/"
            exchange = "mine"
            [plugins.chat]
            urls = ["slack://hidden-2/b/c", "ntfys://user:hidden-3@host/x"]
            [providers.far]
            type = "null"
            url = "https://user:hidden-4@far.test"
            """
        )
        env = {"CORTEX_CONFIG": str(toml)}
        for command in (("config", "--json"), ("config", "--changed")):
            done = cortex(*command, folder=tmp_path, stdin="", **env)
            assert done.returncode == 0
            assert "hidden" not in done.stdout
            assert "mine" in done.stdout
            assert "far.test" in done.stdout
