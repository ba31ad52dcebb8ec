"""The suite against a provider of your configuration: real jobs on the real network.

    CORTEX_CONFORMANCE_PROVIDER=akash-main pytest --pyargs providers.conformance

Uses `cortex.toml` and the environment as a worker does. What the network cannot do is told by
`CORTEX_CONFORMANCE_FLAGS`, with the names of `Harness`: `image=busybox:1.36 live_logs=no`. It
costs what the jobs cost: a hundred of them, each for some seconds.
"""

import os
from typing import Any

import pytest

from cortex.settings import Settings
from providers.conformance import ProviderConformance
from providers.conformance._harness import AnyProvider, Harness
from providers.registry import make_provider

_PROVIDER = os.environ.get("CORTEX_CONFORMANCE_PROVIDER", "")
_FLAGS = os.environ.get("CORTEX_CONFORMANCE_FLAGS", "")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")


def flags(text: str) -> dict[str, Any]:
    """The attributes of `Harness` that `name=value` pairs set.

    Raises:
        ValueError: there is no such flag, or it has no such value.
    """
    chosen: dict[str, Any] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        default = getattr(Harness, name, None)
        if isinstance(default, bool) and value in (*_YES, *_NO):
            chosen[name] = value in _YES
        elif isinstance(default, float | int) and not isinstance(default, bool):
            chosen[name] = float(value)
        elif name in ("image", "sim_url") and value:
            chosen[name] = value
        else:
            raise ValueError(f"`{word}` in CORTEX_CONFORMANCE_FLAGS is no flag of the suite")
    return chosen


@pytest.mark.skipif(not _PROVIDER, reason="CORTEX_CONFORMANCE_PROVIDER names no provider")
class TestConfigured(ProviderConformance):
    """The provider that `CORTEX_CONFORMANCE_PROVIDER` names."""

    async def make_provider(self) -> AnyProvider:
        entry = Settings().providers[_PROVIDER]
        provider = make_provider(_PROVIDER, entry.type, entry.config())
        await provider.initialize()
        return provider


for _name, _value in flags(_FLAGS).items():
    setattr(TestConfigured, _name, _value)
