"""Job files as texts: what they become, and how they are refused."""

import pytest

from cli.errors import BadInput
from cli.specfile import parse
from cortex.domain.spec import JobSpec


def made(text: str) -> JobSpec:
    """The job of a file that has one."""
    (document,) = parse(text, "f.yaml")
    return document.spec()


def refused(text: str) -> str:
    """What is said of a file that is refused, with its details."""
    with pytest.raises(BadInput) as caught:
        [document.spec() for document in parse(text, "f.yaml")]
    return "\n".join([caught.value.message, *caught.value.details])
