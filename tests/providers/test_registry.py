"""What is known of a type of provider without loading it."""

import json
import subprocess
import sys

import pytest

from cortex.domain.errors import InvalidRequest
from providers.registry import config_class, provider_class, provider_types
from tests.support import patience

_DESCRIBE = """
import json, sys
from activities.runtime.builder import Builder
from cortex.settings import Settings
types = [kind.name for kind in Builder(Settings()).types()]
print(json.dumps([types, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("name", provider_types())
def test_the_configuration_is_that_of_the_provider(name: str) -> None:
    assert config_class(name) is provider_class(name).Config


def test_all_types_are_described_without_the_code_of_their_networks() -> None:
    command = [sys.executable, "-c", _DESCRIBE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patience(60))
    types, modules = json.loads(done.stdout)
    assert types == list(provider_types())
    for name in ("akash", "docker", "golem", "local", "nosana", "render"):
        assert f"providers.{name}.config" in modules
        assert f"providers.{name}.provider" not in modules


def test_a_type_that_nobody_has_installed() -> None:
    with pytest.raises(InvalidRequest, match="there is no provider type `moon`"):
        config_class("moon")
