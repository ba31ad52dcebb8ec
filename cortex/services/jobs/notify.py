"""Whom a spec names in `notify`: only who may see the job can be told of it."""

from collections.abc import Sequence

from cortex.db.engine import Reading, Transaction
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.rights import Action
from cortex.domain.spec.notify import ME, Notify
from cortex.services.schedules.owners import owner_now
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
    """Go on only if everybody who is named may see jobs of this owner in this project.

    With `batch` the fields begin with the number of the job. Who is not there and who may not see
    it are told alike.

    Raises:
        InvalidRequest: names who is not told.
    """
    errors = []
    for index, notify in enumerate(asked):
        for place, name in enumerate(notify.to if notify is not None else ()):
            if name in (ME, owner):
                continue
            by = await owner_now(tx, name, api)
            if by is None or not by.may(Action.JOBS_READ, owner=owner, project=project or owner):
                where = f"jobs[{index}].notify.to[{place}]" if batch else f"notify.to[{place}]"
                message = f"names `{name}`, who is nobody here or may not see jobs of this project"
                errors.append(FieldError(field=where, message=message))
    if errors:
        told = ", ".join(f"`{each.field}` {each.message}" for each in errors[:3])
        raise InvalidRequest(f"the spec is not valid: {told}", errors=errors)


def names_others(notify: Notify | None, owner: str) -> bool:
    """Whether there is anybody to ask about."""
    return notify is not None and any(name not in (ME, owner) for name in notify.to)
