"""Plugins are found and made from their configuration; what is broken is left out with a reason."""

from decimal import Decimal
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import ClassVar

import pytest
from pydantic import SecretStr

import cortex.plugins.loading as loading
from cortex.domain.offers import Offer
from cortex.domain.providers.ranking import Facts
from cortex.plugins import Plugin, PluginConfig
from cortex.plugins.loading import Loaded, load_plugins, strategies_of
from cortex.settings import PluginSettings


class _Config(PluginConfig):
    token: SecretStr


class _Near:
    name = "near"

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        return Decimal(1)

    def explain(self, offer: Offer, facts: Facts) -> str:
        return "near"


class _Cost(_Near):
    name = "cost"


class _Good(Plugin[PluginConfig]):
    strategies = (_Near(), _Cost())


class _NeedsToken(Plugin[_Config]):
    Config: ClassVar[type[PluginConfig]] = _Config


class _Raises(Plugin[PluginConfig]):
    def __init__(self, config: PluginConfig) -> None:
        raise OSError("no such disk")


class _WrongStrategy(Plugin[PluginConfig]):
    strategies = ("near",)  # type: ignore[assignment]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points as packages would have them."""
    module = ModuleType("some_plugins")
    classes = {"good": _Good, "token": _NeedsToken, "raises": _Raises, "wrong": _WrongStrategy}
    for name, cls in classes.items():
        setattr(module, name, cls)
    module.no_plugin = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "some_plugins", module)
    points = [
        EntryPoint(name, f"some_plugins:{name}", "cortex.plugins")
        for name in (*classes, "no_plugin", "gone")
    ]
    monkeypatch.setattr(loading, "entry_points", lambda group: points)


@pytest.mark.usefixtures("installed")
class TestLoading:
    def load(self, **settings: dict[str, object]) -> dict[str, Loaded]:
        given = {name: PluginSettings.model_validate(value) for name, value in settings.items()}
        return {plugin.name: plugin for plugin in load_plugins(given)}

    def test_one_that_is_broken_leaves_the_others_alone(self) -> None:
        loaded = self.load()
        assert isinstance(loaded["good"].plugin, _Good)
        assert loaded["raises"].problem == "OSError: no such disk"
        assert "token" in loaded["token"].problem
        assert "no subclass of cortex.plugins.Plugin" in loaded["no_plugin"].problem
        assert "gone" in loaded["gone"].problem
        assert "no placement strategy" in loaded["wrong"].problem
        broken = {name for name, plugin in loaded.items() if plugin.plugin is None}
        assert broken == {"raises", "token", "no_plugin", "gone", "wrong"}

    def test_configuration(self) -> None:
        loaded = self.load(token={"token": "s3cret"}, good={"enabled": False}, absent={})
        assert loaded["token"].plugin is not None
        assert loaded["token"].plugin.config.token.get_secret_value() == "s3cret"
        assert "good" not in loaded
        assert "no installed package" in loaded["absent"].problem

    def test_a_wrong_configuration_is_told_without_its_secrets(self) -> None:
        loaded = self.load(token={"token": "s3cret", "colour": "s3cret-too"})
        assert "`colour`" in loaded["token"].problem
        assert "s3cret" not in loaded["token"].problem

    def test_built_in_strategies_are_not_replaced(self) -> None:
        assert set(strategies_of(list(self.load().values()))) == {"near"}
