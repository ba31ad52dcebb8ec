"""A folder for a stack that is to be hurt."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import short_folder


@pytest.fixture
def stack_folder() -> Iterator[Path]:
    with short_folder("ctx-faults-") as folder:
        yield folder
