"""What is set at run time holds for whoever has been handed the settings before."""

import logging
from datetime import timedelta

import pytest

from cortex.domain.errors import InvalidRequest
from cortex.domain.runtime_settings import NAMES
from cortex.runtime_settings import RuntimeSettings
from cortex.settings import Settings, WebhookSettings


@pytest.fixture
def settings() -> Settings:
    return Settings(webhooks=WebhookSettings(at_once=7))


def test_readers_see_it_and_the_start_holds_again(settings: Settings) -> None:
    runtime = RuntimeSettings(settings)
    webhooks = settings.webhooks
    runtime.apply(1, {"webhooks.at_once": 3, "webhooks.keep_dead": "2d"})
    assert (webhooks.at_once, webhooks.keep_dead) == (3, timedelta(days=2))
    assert runtime.base("webhooks.at_once") == 7
    runtime.apply(2, {"webhooks.keep_dead": "2d"})
    assert (webhooks.at_once, webhooks.keep_dead) == (7, timedelta(days=2))
    runtime.apply(3, {})
    assert settings == Settings(webhooks=WebhookSettings(at_once=7))


def test_what_does_not_go_changes_nothing(settings: Settings) -> None:
    runtime = RuntimeSettings(settings)
    with pytest.raises(InvalidRequest) as refused:
        runtime.apply(1, {"webhooks.at_once": 0, "logs.retention": "soon", "jobs.accept": False})
    assert [each.field for each in refused.value.errors] == ["logs.retention", "webhooks.at_once"]
    assert (settings.jobs.accept, runtime.version) == (True, 0)


def test_a_log_level_holds_at_once(settings: Settings) -> None:
    root = logging.getLogger()
    before = root.level
    try:
        runtime = RuntimeSettings(settings)
        runtime.apply(1, {"telemetry.log_level": "error"})
        assert root.level == logging.ERROR
        runtime.apply(2, {})
        assert root.level == logging.INFO
    finally:
        root.setLevel(before)


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_written_as_it_is_shown(settings: Settings, name: str) -> None:
    runtime = RuntimeSettings(settings)
    shown = runtime.base(name)
    assert runtime.description(name)
    runtime.apply(1, {name: shown})
    assert RuntimeSettings(settings).base(name) == shown
