"""Whose a job, group or template is, for those who do not reach everything.

Neither owner nor project ever changes, so what was read once is kept. Who is refused has cost one
look into the database, whether the thing is there or not: the time it takes says nothing.
"""

from typing import Final

from cortex.db.engine import Database
from cortex.db.projects import Whose
from cortex.domain.errors import NotFound
from cortex.domain.ids import is_group_id
from cortex.domain.rights import Action, Principal

_MOST_KEPT: Final = 50_000


class Ownership:
    """Decides about single things."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[str, Whose] = {}

    async def require(
        self, by: Principal, action: Action, subject_id: str, what: str | None = None
    ) -> None:
        """Go on only if this may be done to it; `what` it is told to be if it is not there.

        Raises:
            NotFound: there is none with this id, or none that `by` may know of.
            Forbidden: it may be seen, and this may not be done to it.
        """
        whose = self._kept.get(subject_id)
        if whose is None or not by.sees(whose.project):
            async with self._database.reading() as tx:
                whose = await tx.projects.whose(subject_id)
        if whose is None or not by.sees(whose.project):
            what = what or ("group" if is_group_id(subject_id) else "job")
            raise NotFound(f"there is no {what} `{subject_id[:60]}`")
        self._keep(subject_id, whose)
        by.require(action, owner=whose.owner, project=whose.project)

    def _keep(self, subject_id: str, whose: Whose) -> None:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[subject_id] = whose
