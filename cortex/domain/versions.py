"""Versions of things that several people change, so that nobody undoes what was not seen."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from cortex.domain.errors import PreconditionFailed


def version_of(values: Mapping[str, Any]) -> str:
    """A short name of what can be changed about a thing: other values, another name."""
    body = orjson.dumps(values, option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(body).hexdigest()[:16]


@dataclass(frozen=True)
class Expected:
    """The versions that a change is meant for; None: whichever there is."""

    versions: frozenset[str] | None = None

    def require(self, version: str, what: str) -> None:
        """Go on only with one of these versions.

        Raises:
            PreconditionFailed: it is another one by now.
        """
        if self.versions is not None and version not in self.versions:
            raise PreconditionFailed(
                f"{what} is not as `If-Match` says: it was changed meanwhile; look, and try again"
            )


ANY_VERSION: Final = Expected()
