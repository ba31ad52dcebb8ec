import base64
import json
import socket
import stat
from pathlib import Path

import pytest

from cortex.embedded import Ports, StackConfig, StackError
from cortex.embedded.containers import container_socket
from cortex.settings import Settings


class TestStackFile:
    def test_ports_and_secrets_are_kept(self, data_dir: Path) -> None:
        first = StackConfig.free(data_dir)
        first.save()
        assert StackConfig.free(data_dir) == first
        assert StackConfig.load(data_dir) == first

    def test_only_its_owner_can_read_it(self, config: StackConfig) -> None:
        assert stat.S_IMODE(config.stack_file.stat().st_mode) == 0o600

    def test_a_given_port_wins_and_the_others_stay(self, config: StackConfig) -> None:
        moved = StackConfig.load(config.data_dir, ports={"temporal": 17233})
        assert moved.ports.temporal == 17233
        assert moved.ports.postgres == config.ports.postgres
        assert moved.secrets == config.secrets

    def test_of_two_first_starts_one_makes_the_secrets(self, data_dir: Path) -> None:
        one, two = StackConfig.free(data_dir), StackConfig.free(data_dir)
        assert one.secrets != two.secrets
        one.save_new()
        two.save_new()
        assert StackConfig.load(data_dir) == one
        stored = two.save()
        assert stored.secrets == one.secrets
        assert stored.ports == two.ports
        assert StackConfig.load(data_dir) == stored

    def test_secrets_are_not_in_its_text(self, config: StackConfig) -> None:
        assert config.secrets.api_key not in repr(config)
        assert config.secrets.postgres_cortex not in str(config)

    def test_broken_file_is_told(self, config: StackConfig) -> None:
        config.stack_file.write_text("{")
        with pytest.raises(StackError, match="not valid JSON"):
            StackConfig.load(config.data_dir)

    def test_lost_file_beside_a_database_is_told(self, config: StackConfig) -> None:
        config.stack_file.unlink()
        (config.data_dir / "postgres").mkdir()
        (config.data_dir / "postgres" / "PG_VERSION").write_text("18\n")
        with pytest.raises(StackError, match="restore it from a backup"):
            StackConfig.load(config.data_dir)

    def test_absurd_port_names_the_field(self, data_dir: Path) -> None:
        with pytest.raises(StackError, match=r"ports\.api"):
            StackConfig.load(data_dir, ports={"api": 70000})

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StackError, match="--data-dir"):
            StackConfig.load(tmp_path / "file" / "data", ports={}).save()


class TestPorts:
    def test_free_ports_are_free_and_distinct(self) -> None:
        ports = [port for _, port in Ports.free().items()]
        assert len(set(ports)) == 5
        for port in ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))


class TestEnvironment:
    def test_settings_read_it_back(
        self, config: StackConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in config.environment().items():
            monkeypatch.setenv(name, value)
        settings = Settings()
        assert settings.data_dir == config.data_dir
        assert settings.database.url.get_secret_value() == config.database_url
        assert settings.temporal.address == config.temporal_address
        assert settings.api.port == config.ports.api
        assert settings.api.key is not None
        assert settings.api.key.get_secret_value() == config.api_key
        assert settings.encryption_keys is not None
        name, key = settings.encryption_keys.get_secret_value().split(":")
        assert name == "k1"
        assert len(base64.b64decode(key)) == 32

    def test_the_users_own_settings_pass_through(
        self, config: StackConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CORTEX_API__KEY", "the-users-own-key-of-some-length")
        monkeypatch.setenv("CORTEX_ENCRYPTION_KEYS", "mine:abc")
        monkeypatch.setenv("CORTEX_LOGS__RETENTION", "3d")
        monkeypatch.setenv("cortex_database__url", "postgresql://elsewhere/db")
        env = config.environment()
        assert env["CORTEX_API__KEY"] == "the-users-own-key-of-some-length"
        assert env["CORTEX_ENCRYPTION_KEYS"] == "mine:abc"
        assert env["CORTEX_LOGS__RETENTION"] == "3d"
        assert "cortex_database__url" not in env

    def test_config_file_is_found_from_any_folder(
        self, config: StackConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("CORTEX_CONFIG")
        (tmp_path / "cortex.toml").write_text('[telemetry]\nlog_level = "DEBUG"\n')
        assert config.environment()["CORTEX_CONFIG"] == str(tmp_path / "cortex.toml")

    def test_invalid_settings_are_told_without_their_values(
        self, config: StackConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CORTEX_API__PORT", "secretish")
        with pytest.raises(StackError, match=r"api\.port") as caught:
            config.environment()
        assert "secretish" not in str(caught.value)

    def test_docker_is_offered_where_an_engine_listens(
        self, config: StackConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            path = tmp_path / "e.sock"
            monkeypatch.chdir(tmp_path)
            engine.bind("e.sock")
            monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
            assert container_socket() == path
            providers = json.loads(config.environment()["CORTEX_PROVIDERS"])
            assert set(providers) == {"local", "docker"}
            other = StackConfig.free(tmp_path / "other").environment()
            theirs = json.loads(other["CORTEX_PROVIDERS"])["docker"]["namespace"]
            # Of one engine each stack sees its own containers only.
            assert theirs != providers["docker"]["namespace"]
            monkeypatch.setenv("CORTEX_PROVIDERS", '{"mine": {"type": "null"}}')
            assert "docker" not in config.environment()["CORTEX_PROVIDERS"]
