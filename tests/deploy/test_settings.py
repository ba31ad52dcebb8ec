"""Every name that the containers give Cortex is one that Cortex reads."""

import re
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from cortex.settings import Settings
from cortex.temporal.contracts import SEARCH_ATTRIBUTES
from tests.deploy.servers import DEPLOY, ROOT, plain_environment, run_script

# Read before the settings are: where they come from.
_PLACES = {"CORTEX_CONFIG", "CORTEX_SECRETS_DIR"}
# Read by clients, which have no settings.
_CLIENT = {"CORTEX_URL", "CORTEX_API_KEY"}
_NAME = re.compile(r"\bCORTEX_[A-Z0-9_]*[A-Z0-9]\b|\bcortex_[a-z0-9]+__[a-z0-9_]+\b")
_PROVIDER = re.compile(r"CORTEX_PROVIDERS__[A-Z0-9]+__[A-Z_]+")
_TEXTS = (
    "Dockerfile",
    "docker-compose.temporal.yml",
    "README.md",
    "docs/deployment.md",
    *(str(path.relative_to(ROOT)) for path in DEPLOY.rglob("*") if path.suffix in (".yml", ".sh")),
)


def setting_names(model: type[BaseModel], prefix: str = "CORTEX_") -> set[str]:
    """The environment name of every setting, sections included."""
    names: set[str] = set()
    for field, info in model.model_fields.items():
        name = f"{prefix}{field.upper()}"
        names.add(name)
        for section in _models(info.annotation):
            names |= setting_names(section, f"{name}__")
    return names


def _models(annotation: Any) -> list[type[BaseModel]]:
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else [annotation]
    return [part for part in options if isinstance(part, type) and issubclass(part, BaseModel)]


class TestNames:
    @pytest.mark.parametrize("path", _TEXTS)
    def test_each_is_a_setting(self, path: str) -> None:
        known = setting_names(Settings) | _PLACES | _CLIENT
        unknown = {
            name
            for name in _NAME.findall((ROOT / path).read_text())
            if name.upper() not in known and not _PROVIDER.fullmatch(name.upper())
        }
        assert not unknown

    def test_a_wrong_name_would_be_noticed(self) -> None:
        assert "CORTEX_DATABASE__URL" in setting_names(Settings)
        assert "CORTEX_DATABASE__ULR" not in setting_names(Settings)

    def test_namespace_and_retention_are_the_defaults_of_cortex(
        self, plain_compose: dict[str, Any]
    ) -> None:
        given = plain_compose["services"]["namespace"]["environment"]
        defaults = Settings.model_fields["temporal"].get_default(call_default_factory=True)
        assert given["TEMPORAL_NAMESPACE"] == defaults.namespace
        assert given["RETENTION"] == f"{defaults.retention.total_seconds() / 3600:.0f}h"

    def test_the_script_makes_the_search_attributes_of_the_code(self) -> None:
        text = (DEPLOY / "temporal/namespace.sh").read_text()
        made = dict(re.findall(r"--name (\w+) --type (\w+)", text))
        kinds = {"KEYWORD": "Keyword", "KEYWORD_LIST": "KeywordList"}
        assert made == {key.name: kinds[key.indexed_value_type.name] for key in SEARCH_ATTRIBUTES}


class TestLoading:
    """Settings as the API and the worker load them, from the files that the script makes."""

    @pytest.mark.parametrize("name", ["cortex-api", "cortex-worker", "cortex-migrate"])
    def test_container_environment(
        self,
        compose: dict[str, Any],
        name: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run_script(
            DEPLOY / "make-secrets.sh", env=plain_environment(), arguments=(str(tmp_path / "all"),)
        )
        service = compose["services"][name]
        given = tmp_path / "given"
        given.mkdir()
        for secret in service["secrets"]:
            target = given / Path(secret["target"]).name
            target.write_bytes((tmp_path / "all" / secret["source"]).read_bytes())
        for key, value in service["environment"].items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("CORTEX_SECRETS_DIR", str(given))
        monkeypatch.setenv("CORTEX_CONFIG", str(DEPLOY / "cortex.toml"))

        settings = Settings()

        password = (tmp_path / "all/cortex_db_password").read_text()
        url = settings.database.url.get_secret_value()
        assert url == f"postgresql://cortex:{password}@postgresql:5432/cortex"
        assert settings.temporal.address == "temporal:7233"
        assert settings.providers["local"].type == "local"
        assert (settings.api.key is not None) == (name == "cortex-api")
        assert (settings.encryption_keys is not None) == (name != "cortex-migrate")
        assert (settings.worker.health_file is not None) == (name == "cortex-worker")
