"""Files that a commit of before wrote or read: `cortex.toml`, `stack.json`, provider settings."""

import json
from pathlib import Path

import pytest

from cortex.embedded.config import StackConfig
from cortex.settings import Settings
from providers.registry import provider_class
from tests.accepted.then import THEN, differences

PROVIDERS = json.loads((THEN / "providers.json").read_text())


class TestConfigFile:
    @pytest.fixture(autouse=True)
    def config_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORTEX_CONFIG", str(THEN / "cortex.toml"))

    def test_every_setting_is_read_as_it_was(self) -> None:
        then = json.loads((THEN / "settings.json").read_text())
        now = json.loads(Settings().model_dump_json())
        assert len(then) > 15
        assert not differences(then, now)

    def test_an_unknown_setting_is_still_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else this file would prove nothing."""
        changed = tmp_path / "cortex.toml"
        changed.write_text((THEN / "cortex.toml").read_text().replace("safety_check", "safety"))
        monkeypatch.setenv("CORTEX_CONFIG", str(changed))
        with pytest.raises(ValueError, match="safety"):
            Settings()

    def test_the_stack_keeps_its_ports_and_keys(self, tmp_path: Path) -> None:
        stored = json.loads((THEN / "stack.json").read_text())
        (tmp_path / "stack.json").write_text(json.dumps(stored))
        stack = StackConfig.load(tmp_path)
        assert dict(stack.ports.items()) == stored["ports"]
        assert stack.secrets.model_dump() == stored["secrets"]
        stack.save()
        written = json.loads((tmp_path / "stack.json").read_text())
        assert not differences(stored, written)


@pytest.mark.parametrize("provider_id", PROVIDERS)
def test_a_providers_configuration_is_read(provider_id: str) -> None:
    entry = {**PROVIDERS[provider_id]}
    config = provider_class(entry.pop("type")).Config.model_validate(entry)
    assert set(entry) <= config.model_fields_set
