"""What each adapter is tried with, and what it says where something is not configured."""

from typing import Any

import pytest
from pydantic import SecretStr

from providers.akash import AkashConfig, AkashProvider
from providers.base import TRIAL_IMAGE, Provider
from providers.dropbox import DropBox
from providers.golem import GolemConfig, GolemProvider
from providers.nosana import NosanaConfig, NosanaProvider
from providers.null import NullConfig, NullProvider
from providers.render import RenderConfig, RenderProvider

KEYS = {"public_key": "pk_test", "secret_key": SecretStr("sk_test")}


def golem(**changes: Any) -> Provider[Any]:
    fields = {"app_key": SecretStr("key"), "usd_rate": "0.2", **changes}
    return GolemProvider("g", GolemConfig.model_validate(fields))


def render(**changes: Any) -> Provider[Any]:
    return RenderProvider("r", RenderConfig.model_validate(changes))


@pytest.mark.parametrize(
    ("provider", "image"),
    [
        (AkashProvider("a", AkashConfig(api_key=SecretStr("ac.sk.x"))), TRIAL_IMAGE),
        (NosanaProvider("n", NosanaConfig(api_key=SecretStr("nos_x"))), TRIAL_IMAGE),
        (golem(images={"mine:1": "me/mine:1"}), "mine:1"),
        (golem(gvmkit_build="gvmkit-build", push_to="me/x"), TRIAL_IMAGE),
        (render(**KEYS, images={"alpine:3": "me/alpine"}), "alpine:3"),
        (render(**KEYS, runner_image="me/runner"), None),
    ],
)
def test_the_image(provider: Provider[Any], image: str | None) -> None:
    trial = provider.trial()
    assert (trial.image, trial.no_image, trial.no_run, trial.paid) == (image, "", "", True)


def test_an_image_has_to_be_named() -> None:
    assert "map one in `images`" in golem().trial().no_image
    assert "set `runner_image` or `images`" in render(**KEYS).trial().no_image


def test_scenes_only() -> None:
    gateway = render(driver="gateway", url="http://127.0.0.1:1", token=SecretStr("token"))
    assert gateway.trial().no_run == "it renders scenes only, and runs no commands"


def test_result_files_need_a_drop_box() -> None:
    for provider in (
        NosanaProvider("n", NosanaConfig(api_key=SecretStr("nos_x"))),
        render(**KEYS, runner_image="me/runner")._driver,  # type: ignore[attr-defined]
    ):
        assert "drop.public_url" in provider.trial().no_outputs
        provider.drop = DropBox("http://127.0.0.1:1", b"secret")
        assert provider.trial().no_outputs == ""


def test_nobody_is_paid_on_a_machine_of_ones_own() -> None:
    trial = NullProvider("n", NullConfig()).trial()
    assert (trial.image, trial.paid) == (None, False)
