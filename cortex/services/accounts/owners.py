"""What somebody whose schedules run, or whose webhooks are told, may do now."""

from cortex.db.engine import Reading, Transaction
from cortex.domain.rights import LOCAL_ADMIN, Principal, Role
from cortex.settings import ApiSettings


async def owner_now(tx: Reading | Transaction, name: str, keys: ApiSettings) -> Principal | None:
    """Somebody as they are now; None if there is no such user or key, or it is switched off."""
    user = await tx.accounts.find_user(name)
    if user is not None:
        if not user.active:
            return None
        role = user.role
    elif name in keys.keys:
        role = keys.keys[name].role
    elif name == LOCAL_ADMIN:
        role = Role.ADMIN
    else:
        return None
    memberships = {} if role is Role.ADMIN else await tx.projects.memberships(name)
    return Principal(name=name, role=role, memberships=dict(memberships))
