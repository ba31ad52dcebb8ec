"""URLs as they may be shown."""

import pytest

from cortex.client.errors import ConnectionFailed
from cortex.client.urls import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://cortex.test:8700/x", "https://cortex.test:8700/x"),
        ("https://ann:s3cr3t@cortex.test/x", "https://…@cortex.test/x"),
        ("https://s3cr3t@cortex.test", "https://…@cortex.test"),
        ("https://ann:s3@cr3t@[::1]:5", "https://…@[::1]:5"),
        ("http://[s3cr3t", "a URL that cannot be read"),
    ],
)
def test_never_with_a_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "cr3t" not in str(ConnectionFailed(url, "it took too long"))
