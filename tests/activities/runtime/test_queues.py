"""Which queues a worker serves, by its settings."""

import pytest
from structlog.testing import capture_logs

from activities.runtime.queues import check_queues, serves
from cortex.domain.errors import CortexError


@pytest.mark.parametrize(
    ("patterns", "queue", "expected"),
    [
        ((), "provider.docker", True),
        (("cortex",), "cortex", True),
        (("cortex",), "provider.docker", False),
        (("provider.*",), "provider.docker", True),
        (("provider.*",), "cortex", False),
        (("cortex", "provider.akash-*"), "provider.akash-main", True),
        (("cortex", "provider.akash-*"), "provider.golem", False),
    ],
)
def test_patterns(patterns: tuple[str, ...], queue: str, *, expected: bool) -> None:
    assert serves(patterns, queue) is expected


@pytest.mark.parametrize("name", ["docker", "provider.", "cortex2", ""])
def test_what_can_be_no_queue_is_refused(name: str) -> None:
    with pytest.raises(CortexError, match="there are cortex, provider.local"):
        check_queues(["cortex", name], ["local"])


def test_a_provider_that_may_come_later_is_only_noted() -> None:
    with capture_logs() as logs:
        check_queues(["cortex", "provider.local", "provider.*", "provider.later"], ["local"])
    assert [line["queues"] for line in logs] == [["provider.later"]]
