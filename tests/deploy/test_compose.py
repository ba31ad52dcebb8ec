"""docker-compose.temporal.yml, as Docker Compose itself reads it; no engine is needed for that."""

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.servers import ROOT

_TAG = re.compile(r"^[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.]+)?$")
_SECRET = re.compile(r"(PASSWORD|PWD|KEYS?|TOKEN|SECRET)$|DATABASE__URL$")
_ONE_SHOT = {"schema", "namespace", "cortex-migrate"}
_OURS = {"cortex-migrate", "cortex-worker", "cortex-api"}


def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = compose["services"]
    return services


class TestParts:
    def test_all_are_there(self, compose: dict[str, Any]) -> None:
        assert set(services(compose)) == {
            *("postgresql", "schema", "temporal", "namespace", "temporal-ui"),
            *_OURS,
        }

    def test_every_image_has_a_pinned_tag(self, compose: dict[str, Any]) -> None:
        for name, service in services(compose).items():
            assert _TAG.match(service["image"]), f"{name}: {service['image']}"

    def test_server_and_tools_of_temporal_have_one_version(self, compose: dict[str, Any]) -> None:
        tags = {
            service["image"].partition(":")[2]
            for service in services(compose).values()
            if service["image"].startswith(("temporalio/server", "temporalio/admin-tools"))
        }
        assert len(tags) == 1

    def test_our_image_has_the_version_of_the_package(self, compose: dict[str, Any]) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert {services(compose)[name]["image"] for name in _OURS} == {
            f"cortex-orchestrator:{version}"
        }
        assert f'image.version="{version}"' in (ROOT / "Dockerfile").read_text()

    def test_every_module_that_is_run_exists(self, compose: dict[str, Any]) -> None:
        for name in _OURS:
            python, flag, module = services(compose)[name]["command"]
            assert (python, flag) == ("python", "-m")
            spec = importlib.util.find_spec(module)
            assert spec is not None
            if spec.submodule_search_locations:
                assert importlib.util.find_spec(f"{module}.__main__") is not None, module

    def test_history_shards_are_set_from_the_start(self, compose: dict[str, Any]) -> None:
        assert services(compose)["temporal"]["environment"]["NUM_HISTORY_SHARDS"] == "512"


class TestOrder:
    def test_each_waits_for_what_it_needs(self, compose: dict[str, Any]) -> None:
        done, healthy = "service_completed_successfully", "service_healthy"
        wanted = {
            "schema": {"postgresql": healthy},
            "temporal": {"schema": done},
            "namespace": {"temporal": healthy},
            "temporal-ui": {"temporal": healthy},
            "cortex-migrate": {"postgresql": healthy},
            "cortex-worker": {"cortex-migrate": done, "namespace": done},
            "cortex-api": {"cortex-migrate": done, "namespace": done},
        }
        assert {
            name: {other: how["condition"] for other, how in service["depends_on"].items()}
            for name, service in services(compose).items()
            if "depends_on" in service
        } == wanted

    def test_who_is_waited_for_can_be_healthy_or_complete(self, compose: dict[str, Any]) -> None:
        for service in services(compose).values():
            for other, how in service.get("depends_on", {}).items():
                if how["condition"] == "service_healthy":
                    assert services(compose)[other]["healthcheck"]["test"]
                else:
                    assert other in _ONE_SHOT

    def test_what_runs_on_comes_back_and_what_ends_may_fail(self, compose: dict[str, Any]) -> None:
        for name, service in services(compose).items():
            wanted = "on-failure:5" if name in _ONE_SHOT else "unless-stopped"
            assert service["restart"] == wanted, name

    def test_the_worker_is_given_time_to_hand_over(self, compose: dict[str, Any]) -> None:
        assert services(compose)["cortex-worker"]["stop_grace_period"] == "45s"


class TestClosedness:
    def test_ports_are_on_loopback_only(self, compose: dict[str, Any]) -> None:
        for name, service in services(compose).items():
            for port in service.get("ports", []):
                assert port["host_ip"] == "127.0.0.1", name

    def test_no_secret_is_an_environment_value(self, compose: dict[str, Any]) -> None:
        for name, service in services(compose).items():
            for key in service.get("environment") or {}:
                assert not _SECRET.search(key), f"{name}: {key}"

    def test_secrets_are_files_of_the_folder_that_git_ignores(
        self, compose: dict[str, Any]
    ) -> None:
        for name, secret in compose["secrets"].items():
            path = Path(secret["file"]).relative_to(ROOT)
            assert path == Path("deploy/secrets") / name
        assert (ROOT / "deploy/secrets/.gitignore").read_text().splitlines()[1:] == [
            "*",
            "!.gitignore",
        ]

    def test_make_secrets_makes_every_one(self, compose: dict[str, Any]) -> None:
        script = (ROOT / "deploy/make-secrets.sh").read_text()
        made = set(re.findall(r"^write (\w+)", script, re.MULTILINE))
        assert made == set(compose["secrets"])

    @pytest.mark.parametrize("name", sorted(_OURS))
    def test_our_containers_can_do_little(self, compose: dict[str, Any], name: str) -> None:
        service = services(compose)[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")

    def test_every_container_has_limits(self, compose: dict[str, Any]) -> None:
        for name, service in services(compose).items():
            limits = service["deploy"]["resources"]["limits"]
            assert limits["cpus"] > 0, name
            assert int(limits["memory"]) > 0, name

    def test_the_engine_is_within_reach_only_where_asked_for(
        self, plain_compose: dict[str, Any]
    ) -> None:
        assert "docker.sock" not in str(plain_compose)


class TestFiles:
    def test_every_mounted_file_exists(self, compose: dict[str, Any]) -> None:
        sources = {
            Path(volume["source"])
            for service in services(compose).values()
            for volume in service.get("volumes", [])
            if volume["type"] == "bind" and not volume["source"].endswith("docker.sock")
        }
        assert sources
        assert not [path for path in sources if not path.exists()]

    def test_every_script_that_is_run_is_mounted(self, compose: dict[str, Any]) -> None:
        for service in services(compose).values():
            for part in service.get("entrypoint") or []:
                if part.startswith("/scripts/"):
                    assert (ROOT / "deploy/temporal" / Path(part).name).exists()

    def test_data_is_on_named_volumes(self, compose: dict[str, Any]) -> None:
        assert set(compose["volumes"]) == {"postgresql-data", "cortex-data"}

    def test_api_and_worker_share_the_outputs(self, compose: dict[str, Any]) -> None:
        for name in ("cortex-api", "cortex-worker"):
            service = services(compose)[name]
            mounted = {volume["target"]: volume["source"] for volume in service["volumes"]}
            assert mounted[service["environment"]["CORTEX_DATA_DIR"]] == "cortex-data"
