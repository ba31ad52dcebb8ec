"""What jobs refer to: named secrets of their project, opened when the jobs are accepted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import SecretStr

from cortex.db.engine import Reading, Transaction
from cortex.db.named_secrets import SealedSecret
from cortex.domain.errors import (
    CortexError,
    FieldError,
    Forbidden,
    InvalidRequest,
    ServiceUnavailable,
)
from cortex.domain.groups.expand import ExpandedJob, GroupSpec
from cortex.domain.rights import Action, Principal
from cortex.domain.spec import JobSpec, check_env
from cortex.domain.written import SecretReference
from cortex.security.keyring import KeyRing
from cortex.security.places import named_secret_place


@dataclass(frozen=True)
class Opened:
    """Secrets in clear, by their names; `ids` of those that were opened."""

    values: Mapping[str, str]
    ids: Sequence[str] = ()

    def clear(self, spec: JobSpec) -> JobSpec:
        """The spec with the values in place of the references.

        Raises:
            InvalidRequest: with them its variables are too large.
        """
        references = spec.references()
        if not references:
            return spec
        values = {variable: SecretStr(self.values[name]) for variable, name in references.items()}
        clear = spec.model_copy(update={"secret_env": {**spec.secret_env, **values}})
        try:
            check_env(clear.secrets())
        except ValueError as error:
            raise _invalid([FieldError(field="secret_env", message=str(error))]) from None
        return clear

    def member(self, member: ExpandedJob, number: int) -> ExpandedJob:
        """The same of a member of a group, that is the job of this number in it."""
        try:
            return replace(member, spec=self.clear(member.spec))
        except InvalidRequest as error:
            errors = [
                FieldError(field=f"jobs[{number}].{each.field}", message=each.message)
                for each in error.errors
            ]
            raise _invalid(errors, "group") from None


class Secrets:
    """Opens the secrets of one project for somebody who submits jobs there.

    Args:
        keyring: What they are encrypted with.
        project: Where the jobs go.
        by: Who submits them; None: somebody who may use no secrets.
    """

    def __init__(self, keyring: KeyRing, project: str, by: Principal | None) -> None:
        self._keyring = keyring
        self._project = project
        self._by = by

    async def of_jobs(self, tx: Reading, specs: Sequence[JobSpec], *, batch: bool) -> Opened:
        """Those that jobs refer to.

        Args:
            tx: To look with.
            specs: The jobs.
            batch: They came together: an error names the job by its index.

        Raises:
            Forbidden: `by` may not use the secrets of the project.
            InvalidRequest: the project has no secret of one of the names; says which.
            ServiceUnavailable: the encryption key of one is not in the ring.
        """
        wanted = [
            (f"jobs[{index}].{place}" if batch else place, name)
            for index, spec in enumerate(specs)
            for place, name in _places(spec.secret_env)
        ]
        return await self._open(tx, wanted, "job")

    async def of_group(self, tx: Reading, spec: GroupSpec) -> Opened:
        """Those that the jobs of a group refer to.

        Raises:
            CortexError: as `of_jobs` does.
        """
        return await self._open(tx, _places_of_group(spec), "group")

    async def _open(self, tx: Reading, wanted: Sequence[tuple[str, str]], what: str) -> Opened:
        stored = await _usable(tx, wanted, what, self._project, self._by)
        values: dict[str, str] = {}
        for each in stored:
            try:
                opened = self._keyring.decrypt(each.blob, named_secret_place(each.id))
            except CortexError as error:
                raise ServiceUnavailable(
                    f"the secret `{each.name}` cannot be opened: {error.detail}"
                ) from None
            values[each.name] = opened["value"]
        return Opened(values, [each.id for each in stored])


async def require_usable(
    tx: Reading, spec: JobSpec | GroupSpec, *, project: str, by: Principal
) -> None:
    """Go on only if what a spec refers to is there and `by` may use it; nothing is opened.

    Raises:
        Forbidden: `by` may not use the secrets of the project.
        InvalidRequest: the project has no secret of one of the names; says which.
    """
    if isinstance(spec, GroupSpec):
        await _usable(tx, _places_of_group(spec), "group", project, by)
    else:
        await _usable(tx, list(_places(spec.secret_env)), "job", project, by)


async def write_down(tx: Transaction, opened: Opened) -> None:
    """That secrets were used, in the transaction that stores the jobs."""
    if opened.ids:
        await tx.named_secrets.used(opened.ids)


async def _usable(
    tx: Reading, wanted: Sequence[tuple[str, str]], what: str, project: str, by: Principal | None
) -> list[SealedSecret]:
    if not wanted:
        return []
    if by is None:
        raise Forbidden(
            "what submits this job may use no secrets of the project",
            action=Action.NAMED_SECRETS_USE,
        )
    by.require(Action.NAMED_SECRETS_USE, project=project)
    stored = await tx.named_secrets.sealed(project, {name for _, name in wanted})
    known = {each.name for each in stored}
    missing = [
        FieldError(field=place, message=f"there is no secret `{name}` in the project `{project}`")
        for place, name in wanted
        if name not in known
    ]
    if missing:
        raise _invalid(missing, what)
    return stored


def _places_of_group(spec: GroupSpec) -> list[tuple[str, str]]:
    wanted = [
        (f"defaults.{place}", name) for place, name in _places(spec.defaults.secret_env or {})
    ]
    wanted += [
        (f"jobs[{number}].{place}", name)
        for number, job in enumerate(spec.jobs)
        for place, name in _places(job.secret_env or {})
    ]
    return wanted


def _places(env: Mapping[str, SecretStr | SecretReference]) -> Iterator[tuple[str, str]]:
    for variable, secret in env.items():
        if isinstance(secret, SecretReference):
            yield f"secret_env.{variable}.secret", secret.secret


def _invalid(errors: Sequence[FieldError], what: str = "job") -> InvalidRequest:
    told = ", ".join(f"`{each.field}`: {each.message}" for each in errors[:3])
    return InvalidRequest(f"the {what} spec is not valid: {told}", errors=list(errors))
