"""Names of container images, as all registries and runtimes read them.

The grammar is that of the distribution project (`reference/regexp.go`): Docker refuses what is not
of it with `invalid reference format`, Kubernetes with `InvalidImageName`.
"""

import re
from typing import Final

_COMPONENT: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?"
_NAME: Final = rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*"
_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_HEX: Final = r"(?:[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})"
_DIGEST: Final = rf"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:{_HEX}"

TAGGED: Final = rf"{_NAME}(?::{_TAG})?"
"""A pattern for the whole of a reference without a digest."""
REFERENCE: Final = rf"{TAGGED}(?:@{_DIGEST})?"
"""A pattern for the whole of a reference."""


def is_reference(image: str, pattern: str = REFERENCE) -> bool:
    """Whether a text is a name of an image: by default in the form that registries take."""
    return re.fullmatch(pattern, image) is not None
