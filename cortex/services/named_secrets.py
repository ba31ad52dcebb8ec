"""Named secrets of projects: set, shown without their values, taken away."""

from cortex.db.engine import Database, Reading
from cortex.db.named_secrets import StoredSecret, no_secret
from cortex.domain.errors import Conflict
from cortex.domain.ids import new_id
from cortex.domain.named_secrets import MOST_IN_PROJECT, NamedSecret
from cortex.domain.rights import Action, Principal
from cortex.domain.versions import ANY_VERSION, Expected, version_of
from cortex.schemas.secrets import NamedSecretPage
from cortex.security.keyring import KeyRing
from cortex.security.places import named_secret_place
from cortex.services.projects import Projects
from cortex.settings import Settings


class NamedSecrets:
    """Changes and shows the secrets of projects."""

    def __init__(self, database: Database, projects: Projects, settings: Settings) -> None:
        self._database = database
        self._projects = projects
        self._keyring = KeyRing.from_setting(settings.encryption_keys)

    async def all(self, project: str | None, by: Principal) -> NamedSecretPage:
        """Those of a project, by name.

        Args:
            project: Which; None: the personal one of `by`.
            by: Who asks.

        Raises:
            NotFound: there is no such project, or none that `by` may know of.
        """
        name = await self._known(project, by)
        async with self._database.reading() as tx:
            return NamedSecretPage(items=tuple(await tx.named_secrets.all(name)))

    async def get(self, name: str, project: str | None, by: Principal) -> StoredSecret:
        """One of a project.

        Raises:
            NotFound: there is none of this name, or none that `by` may know of.
        """
        where = await self._known(project, by)
        async with self._database.reading() as tx:
            return await tx.named_secrets.get(where, name)

    async def put(
        self,
        name: str,
        value: str,
        project: str | None,
        by: Principal,
        expected: Expected = ANY_VERSION,
    ) -> StoredSecret:
        """Set a secret, which is there afterwards whether it was before or not.

        Raises:
            NotFound: there is no such project, or none that `by` may know of.
            Forbidden: `by` may not set secrets there, or not those of others.
            PreconditionFailed: it is not at the expected version.
            Conflict: the project is archived, or has too many already.
            ServiceUnavailable: the server has no encryption key.
        """
        where = await self._known(project, by)
        by.require(Action.NAMED_SECRETS_CHANGE, project=where)
        async with self._database.transaction() as tx:
            await _require_open(tx, where)
            await tx.named_secrets.lock(where)
            before = await tx.named_secrets.find(where, name)
            expected.require(secret_version(before), f"secret `{name}`")
            if before is not None:
                _require_own(by, before.info)
            elif await tx.named_secrets.count(where) >= MOST_IN_PROJECT:
                raise Conflict(
                    f"the project `{where}` has {MOST_IN_PROJECT:,} secrets, and may have no more"
                )
            secret_id = before.id if before is not None else new_id("sec")
            place = named_secret_place(secret_id)
            sealed = self._keyring.encrypt({"value": value}, place, what="secrets")
            if before is None:
                await tx.named_secrets.add(
                    secret_id, project=where, name=name, sealed=sealed, by=by.name
                )
            else:
                await tx.named_secrets.replace(secret_id, sealed, by.name)
            stored = await tx.named_secrets.get(where, name)
            await tx.audit.add(
                by,
                "named-secret.set",
                f"{where}/{name}",
                before={} if before is None else {"version": before.info.version},
                after={"version": stored.info.version},
            )
            return stored

    async def remove(
        self,
        name: str,
        project: str | None,
        by: Principal,
        expected: Expected = ANY_VERSION,
    ) -> None:
        """Take a secret away. Jobs that were accepted with it keep their copy.

        Raises:
            NotFound: there is none of this name, or none that `by` may know of.
            Forbidden: `by` may not take it away.
            PreconditionFailed: it is not at the expected version.
        """
        where = await self._known(project, by)
        by.require(Action.NAMED_SECRETS_CHANGE, project=where)
        async with self._database.transaction() as tx:
            await tx.named_secrets.lock(where)
            before = await tx.named_secrets.find(where, name)
            if before is None:
                raise no_secret(where, name)
            _require_own(by, before.info)
            expected.require(secret_version(before), f"secret `{name}`")
            await tx.named_secrets.remove(before.id)
            await tx.audit.add(
                by,
                "named-secret.remove",
                f"{where}/{name}",
                before={"version": before.info.version},
                after={},
            )

    async def _known(self, project: str | None, by: Principal) -> str:
        name = project or by.home
        if name == by.name and by.may(Action.NAMED_SECRETS_READ, project=name):
            return name
        return await self._projects.known(name, by.projects(Action.NAMED_SECRETS_READ))


def secret_version(stored: StoredSecret | None) -> str:
    """A short name of what was set; for one that is not there, of nothing."""
    if stored is None:
        return ""
    return version_of({"id": stored.id, "version": stored.info.version})


async def _require_open(tx: Reading, project: str) -> None:
    made = await tx.projects.find(project)
    if made is not None and made.archived_at is not None:
        raise Conflict(f"the project `{project}` is archived: it takes no new secrets")


def _require_own(by: Principal, secret: NamedSecret) -> None:
    by.require(Action.NAMED_SECRETS_CHANGE, owner=secret.owner, project=secret.project)
