"""A folder for a stack that is to be hurt."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import short_folder
from tests.support.tls import share_tls_context

share_tls_context()


@pytest.fixture
def stack_folder() -> Iterator[Path]:
    with short_folder("ctx-faults-") as folder:
        yield folder
