"""The simulated networks of a stack: chosen once, on free ports, as providers of the settings."""

import json
import socket

import pytest

from cortex.embedded import StackConfig, StackError, detach
from cortex.embedded.apps import stack_parts
from cortex.embedded.simulators import SIMULATORS, provider_id, service_name
from cortex.embedded.state import stack_lock
from cortex.settings import Settings
from simulators.registry import names


def test_every_simulator_is_known() -> None:
    assert set(SIMULATORS) == set(names())


class TestChoice:
    def test_without_it_nothing_changes(self, config: StackConfig) -> None:
        assert config.with_simulator_ports() == config
        assert not [part for part in stack_parts(config) if part.name.startswith("sim-")]
        assert "-sim" not in config.environment().get("CORTEX_PROVIDERS", "")

    def test_it_is_kept_until_it_is_taken_back(self, config: StackConfig) -> None:
        folder = config.data_dir
        StackConfig.load(folder, simulators=True).with_simulator_ports().save()
        kept = StackConfig.load(folder)
        assert kept.simulators
        assert set(kept.simulator_ports) == set(SIMULATORS)
        StackConfig.load(folder, simulators=False).save()
        assert not StackConfig.load(folder).simulators

    async def test_a_stack_that_runs_without_them_says_so(self, config: StackConfig) -> None:
        wanted = config.model_copy(update={"simulators": True})
        with stack_lock(config.run_dir), pytest.raises(StackError, match="without the simulators"):
            await detach(wanted)


class TestPorts:
    def test_they_stay_unless_a_stranger_took_one(self, config: StackConfig) -> None:
        first = StackConfig.load(config.data_dir, simulators=True).with_simulator_ports()
        assert first.with_simulator_ports().simulator_ports == first.simulator_ports
        lost, *others = SIMULATORS
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", first.simulator_ports[lost]))
            stranger.listen()
            second = first.with_simulator_ports()
        assert second.simulator_ports[lost] != first.simulator_ports[lost]
        for name in others:
            assert second.simulator_ports[name] == first.simulator_ports[name]


class TestProviders:
    def test_they_join_those_of_the_user(
        self, config: StackConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CORTEX_PROVIDERS", '{"mine": {"type": "null", "run_seconds": 3}}')
        stack = StackConfig.load(config.data_dir, simulators=True).with_simulator_ports()
        for name, value in stack.environment().items():
            monkeypatch.setenv(name, value)
        providers = Settings().providers
        assert set(providers) == {"mine", *map(provider_id, SIMULATORS)}
        assert providers["mine"].config()["run_seconds"] == 3
        for name in SIMULATORS:
            assert providers[provider_id(name)].type == name

    def test_the_worker_waits_for_them(self, config: StackConfig) -> None:
        stack = StackConfig.load(config.data_dir, simulators=True).with_simulator_ports()
        parts = {part.name: part for part in stack_parts(stack)}
        expected = {service_name(name) for name in SIMULATORS}
        assert expected <= set(parts["worker"].needs)
        for name in expected:
            environment = getattr(parts[name], "env")  # noqa: B009 - a set-up task has none
            assert not [key for key in environment if key.startswith("CORTEX_")]

    def test_their_keys_are_not_the_stacks(self, config: StackConfig) -> None:
        stack = StackConfig.load(config.data_dir, simulators=True).with_simulator_ports()
        providers = json.dumps(json.loads(stack.environment()["CORTEX_PROVIDERS"]))
        for secret in stack.secrets.model_dump().values():
            assert secret not in providers
