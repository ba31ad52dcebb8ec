"""Changing a group that is under way."""

from cortex.db.engine import Database, Transaction
from cortex.domain.errors import GroupAlreadyEnded, NotFound
from cortex.domain.events import EventType, NewEvent
from cortex.domain.rights import Action, Principal


class GroupControl:
    """Cancels groups. What follows for the members is the planner's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def cancel(self, group_id: str, reason: str, by: Principal | None = None) -> None:
        """Ask for the end of a group and all its members. Harmless to repeat.

        Args:
            group_id: Its id.
            reason: Why; goes into its history.
            by: Who asks; None: Cortex itself.

        Raises:
            NotFound: there is no such group.
            Forbidden: it is of somebody else, and the role reaches to own jobs only.
            GroupAlreadyEnded: it has ended.
        """
        async with self._database.transaction() as tx:
            await tx.groups.lock(group_id)
            heads = await tx.groups.heads([group_id])
            if not heads:
                raise NotFound(f"there is no group `{group_id[:60]}`")
            if by is not None:
                by.require(Action.JOBS_CANCEL, owner=heads[0].owner, project=heads[0].project)
            if heads[0].state.terminal:
                raise GroupAlreadyEnded(
                    f"group `{group_id}` has ended as `{heads[0].state}`; "
                    "it cannot be cancelled any more"
                )
            asked = await request_cancel(tx, group_id, reason)
            if asked and by is not None:
                await tx.audit.add(
                    by,
                    "group.cancel",
                    group_id,
                    name=heads[0].name,
                    project=heads[0].project,
                    reason=reason,
                )
            # Also the second time: the first call may not have come through.
            await tx.groups.nudge(group_id)


async def request_cancel(tx: Transaction, group_id: str, reason: str) -> bool:
    """Write down that a group is to end, with its event; false if it is to end already.

    The caller holds the lock of the group. The members are stopped by the next plan.
    """
    if not await tx.groups.request_cancel(group_id, reason):
        return False
    data = {"group_id": group_id, "reason": reason}
    await tx.events.add_many([NewEvent.of_group(EventType.GROUP_CANCEL_REQUESTED, group_id, data)])
    return True
