"""The tests that decide whether a provider keeps the contract of `providers.base`.

A provider's own tests subclass `ProviderConformance` and say how to make one:

    class TestMine(ProviderConformance):
        async def make_provider(self) -> AnyProvider:
            provider = MyProvider("mine", MyConfig(url=self.url))
            await provider.initialize()
            return provider

Everything is checked through the contract alone, with jobs that really run. What a network
cannot do, by its `capabilities()` or by the class attributes of `Harness`, is skipped with the
reason. Needs `pytest` and `pytest-asyncio`.
"""

import pytest

for _part in (
    "_cancel",
    "_faults",
    "_harness",
    "_inputs",
    "_lifecycle",
    "_logs",
    "_metrics",
    "_outputs",
    "_placing",
    "_render",
    "_usage",
    "_waiting",
):
    pytest.register_assert_rewrite(f"{__name__}.{_part}")

from providers.conformance._cancel import CancelChecks  # noqa: E402
from providers.conformance._faults import FaultChecks  # noqa: E402
from providers.conformance._harness import Harness  # noqa: E402
from providers.conformance._inputs import InputChecks  # noqa: E402
from providers.conformance._lifecycle import LifecycleChecks  # noqa: E402
from providers.conformance._logs import LogChecks  # noqa: E402
from providers.conformance._metrics import MetricsChecks  # noqa: E402
from providers.conformance._outputs import OutputChecks  # noqa: E402
from providers.conformance._placing import PlacingChecks  # noqa: E402
from providers.conformance._render import RenderConformance, size_of  # noqa: E402
from providers.conformance._usage import UsageChecks  # noqa: E402
from providers.conformance._waiting import Patience, eventually, slowdown  # noqa: E402

__all__ = [
    "Harness",
    "Patience",
    "ProviderConformance",
    "RenderConformance",
    "eventually",
    "size_of",
    "slowdown",
]


class ProviderConformance(
    PlacingChecks,
    LifecycleChecks,
    CancelChecks,
    UsageChecks,
    MetricsChecks,
    LogChecks,
    InputChecks,
    OutputChecks,
    FaultChecks,
):
    """The whole suite; subclass it as `TestSomething`."""
