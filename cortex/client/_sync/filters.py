"""The part of the blocking client that is about saved filters."""
# Made from _async/filters.py by `make format`; change that one.

from collections.abc import Mapping
from typing import Any

from cortex.client._routes import filters as routes
from cortex.client.transport import Transport
from cortex.domain.filters import SavedFilter


class FilterCalls:
    """What `Cortex` can do with saved filters of lists of jobs."""

    _transport: Transport

    def filters(self) -> tuple[SavedFilter, ...]:
        """One's own, and those that are shared in projects that one sees."""
        return (self._transport.call(routes.filters())).items

    def put_filter(
        self, name: str, jobs: Mapping[str, Any], *, shared: str | None = None
    ) -> SavedFilter:
        """Save a filter, in place of the one of this name.

        Args:
            name: Of the filter, for `jobs(saved=...)`.
            jobs: `state` (a list), `project`, `provider`, `owner`, `name`, `label` (a mapping),
                `group`, `created_within` (`7d`); what is not given does not matter.
            shared: The project whose members have it too; None: nobody else.
        """
        return self._transport.call(routes.put(name, jobs, shared))

    def delete_filter(self, name: str, *, shared: str | None = None) -> None:
        """Take a filter away: one's own, or one that is shared in a project."""
        self._transport.call(routes.delete(name, shared))
