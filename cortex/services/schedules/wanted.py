"""What a schedule is to submit: checked when somebody says it, as a submission of theirs."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pydantic import ValidationError

from cortex.db.engine import Transaction
from cortex.domain.errors import FieldError, InvalidRequest, NotFound
from cortex.domain.rights import Action, Principal
from cortex.domain.schedules import Schedule
from cortex.domain.spec import JobSpec
from cortex.domain.templates.making import (
    json_values,
    made_spec,
    secret_parameters,
    values_in_clear,
)
from cortex.schemas.schedules import ScheduleCreate, ScheduleUpdate
from cortex.services.jobs.references import require_usable

_SECRET: Final = "would be kept in clear: name a secret of the project instead"
_WHAT: Final = ("template", "template_version", "job", "params", "overrides")


def says_what_runs(change: ScheduleUpdate) -> bool:
    """Whether a change is about what is submitted, not only about when."""
    return any(getattr(change, name) is not None for name in _WHAT)


def same(old: Schedule, change: ScheduleUpdate) -> ScheduleUpdate:
    """The change with what the schedule is of already, if it does not say of what."""
    if change.template is not None or change.job is not None:
        return change
    if old.template is None:
        return change.model_copy(update={"job": old.job})
    version = change.template_version or old.template_version
    return change.model_copy(update={"template": old.template, "template_version": version})


async def what_runs(
    tx: Transaction,
    project: str,
    wanted: ScheduleCreate | ScheduleUpdate,
    *,
    params: Mapping[str, str],
    overrides: Mapping[str, Any],
    by: Principal,
) -> dict[str, Any]:
    """What is submitted, once it is known that it could be, and by whoever says so.

    It is submitted with the owner's rights, so all of it counts here, whoever said which part.

    Raises:
        Forbidden: `by` may not submit there, or not use the secrets that it refers to.
        InvalidRequest: it could not be submitted; the project has not the secrets.
        NotFound: the project has no such template, or not that version.
    """
    by.require(Action.JOBS_SUBMIT, project=project)
    if wanted.job is not None:
        if params or overrides or wanted.template_version is not None:
            raise invalid("job", "takes no `params`, `overrides` and `template_version`")
        with _within_job():
            await require_usable(tx, _job(wanted.job), project=project, by=by)
        nothing = {"template_id": None, "template": None, "template_version": None}
        return {**nothing, "job": json_values(wanted.job)}
    page = await tx.templates.page(frozenset({project}), name=wanted.template, before=None, limit=1)
    if not page:
        raise NotFound(
            f"the project `{project}` has no template `{wanted.template}`",
            errors=[FieldError(field="template", message="is no template of the project")],
        )
    if wanted.template_version is None:
        # Whatever it becomes is run: it may refer to a secret one day.
        by.require(Action.NAMED_SECRETS_USE, project=project)
    template = await tx.templates.get(page[0].id, wanted.template_version)
    hidden = sorted(secret_parameters(template) & set(params))
    if hidden:
        raise invalid(f"params.{hidden[0]}", _SECRET)
    in_clear = values_in_clear(overrides)
    if in_clear:
        raise invalid(f"overrides.{in_clear[0]}", _SECRET)
    spec = await asyncio.to_thread(made_spec, template, params, overrides)
    await require_usable(tx, spec, project=project, by=by)
    return {
        "template_id": template.id,
        "template": template.name,
        "template_version": wanted.template_version,
        "job": None,
        "overrides": json_values(overrides),
    }


def _job(job: Mapping[str, Any]) -> JobSpec:
    env = job.get("secret_env")
    for name, value in env.items() if isinstance(env, Mapping) else ():
        if not isinstance(value, Mapping):
            raise InvalidRequest(
                f"`secret_env.{name}` {_SECRET}",
                errors=[FieldError(field=f"secret_env.{name}", message=_SECRET)],
            )
    try:
        return JobSpec.model_validate(job)
    except ValidationError as error:
        raise InvalidRequest.from_validation(error) from None


@contextmanager
def _within_job() -> Iterator[None]:
    """Names the fields that are wrong as those of the schedule's `job`."""
    try:
        yield
    except InvalidRequest as error:
        errors = [
            FieldError(
                field="job" if each.field == "spec" else f"job.{each.field}", message=each.message
            )
            for each in error.errors
        ]
        raise InvalidRequest(error.detail, errors=errors) from None


def invalid(field: str, message: str) -> InvalidRequest:
    """That a field of a schedule is wrong."""
    return InvalidRequest(
        f"the schedule is not valid: `{field}` {message}",
        errors=[FieldError(field=field, message=message)],
    )
