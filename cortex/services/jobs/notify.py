"""Whom a spec names in `notify`: only members of the job's project.

Others are refused whatever they may see: else whoever submits could find out who has a role on the
whole server, and have mails sent to them.
"""

from collections.abc import Sequence

from cortex.db.engine import Reading, Transaction
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.rights import Action
from cortex.domain.spec.notify import ME, Notify
from cortex.services.accounts.owners import owner_now
from cortex.settings import ApiSettings


async def require_told(
    tx: Reading | Transaction,
    asked: Sequence[Notify | None],
    owner: str,
    project: str,
    api: ApiSettings,
    *,
    batch: bool = False,
) -> None:
    """Go on only if everybody who is named is in this project, and may see this owner's jobs there.

    With `batch` the fields begin with the number of the job. Who is not there and who is not in
    the project are told alike.

    Raises:
        InvalidRequest: names who is not told.
    """
    errors = []
    for index, notify in enumerate(asked):
        for place, name in enumerate(notify.to if notify is not None else ()):
            if name in (ME, owner):
                continue
            if not await _may_be_told(tx, name, owner, project or owner, api):
                where = f"jobs[{index}].notify.to[{place}]" if batch else f"notify.to[{place}]"
                message = f"names `{name}`, who is not in the project of this job"
                errors.append(FieldError(field=where, message=message))
    if errors:
        told = ", ".join(f"`{each.field}` {each.message}" for each in errors[:3])
        raise InvalidRequest(f"the spec is not valid: {told}", errors=errors)


async def _may_be_told(
    tx: Reading | Transaction, name: str, owner: str, project: str, api: ApiSettings
) -> bool:
    if project not in await tx.projects.memberships(name):
        return False
    by = await owner_now(tx, name, api)
    return by is not None and by.may(Action.JOBS_READ, owner=owner, project=project)


def names_others(notify: Notify | None, owner: str) -> bool:
    """Whether there is anybody to ask about."""
    return notify is not None and any(name not in (ME, owner) for name in notify.to)
