"""PostgreSQL: whether it can be reached, fits this version of Cortex, and what its rows tell."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from alembic.script import ScriptDirectory

from cortex.db.migrate import alembic_config
from cortex.db.partitions import PARTITIONED
from cortex.db.secrets import COUNT, EXAMPLE, Sealed
from cortex.doctor.findings import Finding, fault, fine, first_line, unknown, warning
from cortex.settings import Settings

_PATIENCE: Final = 5
_OLDEST: Final = 150000
"""As the server tells its version: 15.0, the oldest whose support has not ended."""
_OUT_OF_STEP: Final = timedelta(seconds=2)
_FAR_OUT: Final = timedelta(seconds=30)
_LATE: Final = timedelta(minutes=1)
_STUCK: Final = timedelta(minutes=10)
_DATA: Final = ("partitions", "outbox", "audit")
_NAMES: Final = ("schema", "role", "connections", "database clock", *_DATA)


@dataclass(frozen=True)
class Provider:
    """One that is to be served: what its last health check told."""

    id: str
    status: str
    message: str
    checked_at: datetime | None


@dataclass(frozen=True)
class Stored:
    """So many ciphertexts of a kind, encrypted with a key, and one of them."""

    key: str
    count: int
    example: Sealed


@dataclass(frozen=True)
class DatabaseReport:
    findings: list[Finding]
    providers: list[Provider] | None
    """Those that are enabled; None: nobody could be asked."""
    stored: list[Stored] | None
    """What is encrypted; None: nobody could be asked."""


async def check_database(settings: Settings, start: str = "start it") -> DatabaseReport:
    """Never raises: what cannot be looked at is a finding. `start`: how one starts it."""
    url = settings.database.url.get_secret_value()
    try:
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=_PATIENCE, application_name="cortex-doctor"
        )
    except (psycopg.Error, OSError) as error:
        lost = unknown_all("without the database")
        return DatabaseReport([_away(url, error, start), *lost], None, None)
    try:
        async with connection:
            await connection.execute(f"SET statement_timeout = '{_PATIENCE}s'".encode())
            return await _look(settings, connection)
    except (psycopg.Error, OSError) as error:
        detail = f"it stopped answering: {first_line(error)}"
        fix = "look at its log and its load"
        return DatabaseReport([fault("database", detail, fix)], None, None)


def unknown_all(because: str) -> list[Finding]:
    return [unknown(name, because) for name in _NAMES]


async def _look(settings: Settings, connection: psycopg.AsyncConnection[Any]) -> DatabaseReport:
    schema = await _schema(connection)
    findings = [
        _server(connection),
        schema,
        await _role(connection),
        await _connections(settings, connection),
        await _clock(connection),
    ]
    if schema.fix:
        findings += [unknown(name, "with another schema") for name in _DATA]
        return DatabaseReport(findings, None, None)
    findings += [
        await _partitions(connection),
        await _outbox(connection),
        await _audit(connection),
    ]
    return DatabaseReport(findings, await _providers(connection), await _stored(connection))


def _away(url: str, error: Exception, start: str) -> Finding:
    """The fix for each way in which a connection fails; libpq's own words, and no password."""
    text = first_line(error)
    where = "the setting `database.url` (CORTEX_DATABASE__URL)"
    try:
        parts = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:  # whose text may have the password in it
        example = "postgresql://user:password@host:5432/database"
        return fault("database", "its URL is malformed", f"correct {where}: `{example}`")
    for words, fix in (
        ("password authentication failed", f"correct user and password in {where}"),
        ("no password supplied", f"give the password in {where}"),
        ("does not exist", f"make the role and the database, or correct their names in {where}"),
        ("resolve", f"correct the host in {where}, or mend the name server"),
        ("translate host name", f"correct the host in {where}, or mend the name server"),
        ("invalid", f"correct {where}"),
        ("certificate", "mend the server's certificate, or `sslrootcert` in the URL"),
        ("too many", "raise `max_connections`, or run fewer processes"),
        ("starting up", "wait until it is ready"),
    ):
        if words in text:
            return fault("database", text, fix)
    place = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
    if "timeout expired" in text:
        detail = f"PostgreSQL at {place} does not answer within {_PATIENCE} s"
        fix = f"look at its load and log, and at firewalls on the way; or correct {where}"
        return fault("database", detail, fix)
    return fault("database", f"PostgreSQL at {place}: {text}", f"{start}, or correct {where}")


def _server(connection: psycopg.AsyncConnection[Any]) -> Finding:
    number = connection.info.server_version
    detail = f"PostgreSQL {number // 10000}.{number % 10000} at {connection.info.host}"
    if number < _OLDEST:
        return fault("database", detail, "upgrade it to 15 or newer; the tests run on 18")
    return fine("database", detail)


async def _schema(connection: psycopg.AsyncConnection[Any]) -> Finding:
    name = "schema"
    script = ScriptDirectory.from_config(alembic_config())
    newest = script.get_current_head()
    known = {revision.revision for revision in script.walk_revisions()}
    if await _one(connection, "SELECT to_regclass('alembic_version')") is None:
        return fault(name, "the database is empty", "`cortex db migrate`")
    have = str(await _one(connection, "SELECT version_num FROM alembic_version"))
    if have == newest:
        return fine(name, f"revision {have}, as this version of Cortex wants it")
    if have in known:
        return fault(name, f"revision {have}; this version wants {newest}", "`cortex db migrate`")
    detail = f"revision {have[:60]}, which this version of Cortex (up to {newest}) does not know"
    return fault(name, detail, "run the version of Cortex that migrated it, or a newer one")


async def _role(connection: psycopg.AsyncConnection[Any]) -> Finding:
    name = "role"
    user = connection.info.user
    if await _one(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        fix = "make a role that owns the database only: the audit log is safe from no superuser"
        return warning(name, f"`{user}` is a superuser", fix)
    return fine(name, f"`{user}`")


async def _connections(settings: Settings, connection: psycopg.AsyncConnection[Any]) -> Finding:
    name = "connections"
    most = int(await _one(connection, "SELECT current_setting('max_connections')"))
    used = int(await _one(connection, "SELECT count(*) FROM pg_stat_activity"))
    per_process = 2 * settings.database.pool_size
    detail = f"{used} of {most} in use; a process of Cortex takes up to {per_process}"
    if most - used < per_process:
        fix = "raise `max_connections` of PostgreSQL, or lower `database.pool_size`"
        return warning(name, detail, fix)
    return fine(name, detail)


async def _clock(connection: psycopg.AsyncConnection[Any]) -> Finding:
    name = "database clock"
    before = datetime.now(UTC)
    there = await _one(connection, "SELECT clock_timestamp()")
    after = datetime.now(UTC)
    off = max(before - there, there - after, timedelta(0))
    words = f"{off.total_seconds():.1f} s from the clock here"
    fix = "have NTP set both clocks (`timedatectl`): deadlines and bills go by them"
    if off > _FAR_OUT:
        return fault(name, words, fix)
    return warning(name, words, fix) if off > _OUT_OF_STEP else fine(name, words)


async def _partitions(connection: psycopg.AsyncConnection[Any]) -> Finding:
    name = "partitions"
    after = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("%Y_%m")
    wanted = [f"{table}_{after}" for table in PARTITIONED]
    rows = await (
        await connection.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL", (wanted,)
        )
    ).fetchall()
    if rows:
        missing = ", ".join(f"`{row[0]}`" for row in rows)
        fix = "`cortex db migrate` makes them; a worker does each day, so look why none did"
        return fault(name, f"next month has none yet: {missing}", fix)
    return fine(name, "there for the next month")


async def _outbox(connection: psycopg.AsyncConnection[Any]) -> Finding:
    name = "outbox"
    row = await (
        await connection.execute(
            "SELECT count(*), coalesce(now() - min(due_at), '0'::interval), max(error) "
            "FROM commands WHERE done_at IS NULL AND due_at <= now()"
        )
    ).fetchone()
    count, age, error = row or (0, timedelta(0), None)
    if age < _LATE:
        return fine(name, f"{count} commands are waiting")
    detail = f"{count} commands wait for Temporal, the oldest for {age.total_seconds():,.0f} s"
    if error:
        detail += f" ({error[:120]})"
    fix = "run a worker: its relay delivers them; if one runs, mend Temporal first"
    return fault(name, detail, fix) if age > _STUCK else warning(name, detail, fix)


async def _audit(connection: psycopg.AsyncConnection[Any]) -> Finding:
    name = "audit"
    row = await (
        await connection.execute(
            "SELECT count(*), coalesce(now() - min(a.created_at), '0'::interval) "
            "FROM audit_pending p JOIN audit_log a ON a.id = p.audit_id "
            "WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id)"
        )
    ).fetchone()
    count, age = row or (0, timedelta(0))
    if age <= _LATE:
        return fine(name, f"{count} entries wait for their seal")
    detail = f"{count} entries have no seal, the oldest for {age.total_seconds():,.0f} s"
    fix = (
        "run the API, which seals them; if it runs, look for `audit.sealing_failed` in its log, "
        "and at `cortex audit verify`"
    )
    return fault(name, detail, fix) if age > _STUCK else warning(name, detail, fix)


async def _providers(connection: psycopg.AsyncConnection[Any]) -> list[Provider]:
    rows = await (
        await connection.execute(
            "SELECT id, status, message, checked_at FROM providers "
            "WHERE enabled AND configured ORDER BY id"
        )
    ).fetchall()
    return [Provider(*row) for row in rows]


async def _stored(connection: psycopg.AsyncConnection[Any]) -> list[Stored]:
    stored: list[Stored] = []
    rows = await (await connection.execute(COUNT.text.encode())).fetchall()
    for what, key, number, one in rows:
        cursor = await connection.execute(EXAMPLE[what].encode(), (one,))
        blob = await cursor.fetchone()
        if blob is not None and blob[0] is not None:  # else it is gone since
            example = Sealed(what, one, bytes(blob[0]))
            stored.append(Stored(bytes(key).decode(errors="replace"), number, example))
    return stored


async def _one(connection: psycopg.AsyncConnection[Any], statement: str) -> Any:
    row = await (await connection.execute(statement.encode())).fetchone()
    return row[0] if row else None
