"""Webhooks after somebody may do less: who has left keeps nothing.

Whoever gave a webhook its URL, or enabled it last, vouches for it. Once they may have none in its
project any more it is disabled, until another who may enables it.
"""

from cortex.db.engine import Transaction
from cortex.domain.errors import Forbidden
from cortex.domain.rights import Action, Principal


async def as_of_now(tx: Transaction, by: Principal, project: str | None) -> Principal:
    """Who vouches, as they are now; that does not change until the transaction ends.

    What the request began with may be older: who was put out meanwhile would be told for ever.
    Locks the user, then the project; whoever changes one of them locks webhooks after it.

    Args:
        tx: The transaction in which they vouch; it has not locked a webhook yet.
        by: Who.
        project: The one that the webhook belongs to; None: it is personal.

    Raises:
        NotFound: there is no such project.
        Forbidden: `by` is switched off.
    """
    role = by.role
    if await tx.accounts.find_user(by.name) is not None:
        user = await tx.accounts.lock_user(by.name)
        if not user.active:
            raise Forbidden(f"`{by.name}` is switched off", action=Action.WEBHOOKS_CHANGE)
        role = user.role
    if project is not None:
        await tx.projects.lock(project)
    memberships = await tx.projects.memberships(by.name)
    return by.model_copy(update={"role": role, "memberships": memberships})


async def disown(tx: Transaction, name: str, now: Principal | None, why: str) -> list[str]:
    """Disable what somebody may not vouch for any more.

    Args:
        tx: The transaction in which they were changed.
        name: Who.
        now: What they may from now on; None: nothing.
        why: In words, for those who see the webhooks.

    Returns:
        The ids of the webhooks that were disabled.
    """
    allowed = frozenset[str]() if now is None else now.projects(Action.WEBHOOKS_CHANGE)
    if allowed is None:
        return []
    return await tx.webhooks.disown(name, allowed, f"`{name}`, who vouched for it, {why}")
