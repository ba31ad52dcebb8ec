"""Text that a node of Nosana rewrites (`interpolateOperation` in nosana-ci/nosana-cli)."""

import re
from typing import Final

LITERAL: Final = re.compile(r"%%(global|ops)\b")


def is_rewritten(text: str) -> bool:
    """Whether it looks like JSON, or has a literal in it."""
    return text.strip()[:1] in ("[", "{") or LITERAL.search(text) is not None
