"""Ways to break the protocol on purpose, inside a forked worker: the checks must notice each."""

from collections.abc import Callable
from typing import Final


def _honest() -> None:
    """Change nothing."""


SABOTAGES: Final[dict[str, Callable[[], None]]] = {"none": _honest}
