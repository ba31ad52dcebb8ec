"""A database that is away, of another version, or tells of trouble."""

import socket
from collections.abc import Sequence

import psycopg
import pytest
from pydantic import SecretStr

from cortex.doctor import database
from cortex.doctor.database import DatabaseReport, check_database
from cortex.doctor.findings import Finding, Verdict
from cortex.security.places import provider_place
from cortex.settings import DatabaseSettings, Settings
from tests.support.databases import as_admin


async def look(url: str) -> DatabaseReport:
    return await check_database(Settings(database=DatabaseSettings(url=SecretStr(url))))


def named(findings: Sequence[Finding], name: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.name == name]
    return finding


async def execute(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())


async def test_a_sound_one_has_nothing_to_mend(database_url: str) -> None:
    report = await look(database_url)
    assert {finding.verdict for finding in report.findings} == {Verdict.OK}
    assert {finding.fix for finding in report.findings} == {""}
    assert (report.providers, report.stored) == ([], [])


@pytest.mark.parametrize(
    ("change", "said", "fix"),
    [
        ((":54", ":1"), "127.0.0.1:1", "start it"),
        (("127.0.0.1", "no-such-host.invalid"), "no-such-host.invalid", "correct the host"),
        (("@127.0.0.1", "@[::1"), "its URL is malformed", "correct the setting"),
        (("/t_", "/t_?sslmode=odd&x="), "its URL is malformed", "correct the setting"),
        (("/t_", "/?sslmode=odd&dbname=t_"), "invalid sslmode", "correct the setting"),
        (("/t_", "/gone_"), "does not exist", "make the role and the database"),
        (("cortex:", "cortex:not-"), "password authentication failed", "correct user and password"),
        (("/t_", "/?nonsense=1&dbname=t_"), "its URL is malformed", "correct the setting"),
    ],
)
async def test_how_it_is_away_and_what_to_do(
    database_url: str, change: tuple[str, str], said: str, fix: str
) -> None:
    old, new = change
    if old == ":54":
        port = psycopg.conninfo.conninfo_to_dict(database_url)["port"]
        old, new = f":{port}", ":1"
    report = await look(database_url.replace(old, new, 1))
    found = named(report.findings, "database")
    assert found.verdict == Verdict.FAULT
    assert said in found.detail
    assert fix in found.fix
    password = psycopg.conninfo.conninfo_to_dict(database_url)["password"]
    assert str(password) not in found.detail + found.fix
    assert named(report.findings, "schema").verdict == Verdict.UNKNOWN
    assert report.providers is None


@pytest.mark.parametrize(
    ("statement", "said", "fix"),
    [
        ("DROP TABLE alembic_version", "is empty", "`cortex db migrate`"),
        ("UPDATE alembic_version SET version_num = '0001'", "0001; this", "`cortex db migrate`"),
        ("UPDATE alembic_version SET version_num = '9999'", "does not know", "or a newer one"),
    ],
)
async def test_the_schema_of_another_version(
    database_url: str, statement: str, said: str, fix: str
) -> None:
    await execute(database_url, statement)
    report = await look(database_url)
    found = named(report.findings, "schema")
    assert (found.verdict, said in found.detail, fix in found.fix) == (Verdict.FAULT, True, True)
    assert named(report.findings, "outbox").verdict == Verdict.UNKNOWN


async def test_a_superuser_is_warned_of(
    database_url: str, postgres: "object", request: pytest.FixtureRequest
) -> None:
    report = await look(as_admin(request.getfixturevalue("postgres"), database_url))
    assert named(report.findings, "role").verdict == Verdict.WARNING


async def test_no_partition_for_the_next_month(database_url: str) -> None:
    await execute(
        database_url,
        """DO $$ DECLARE one regclass; BEGIN
        FOR one IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'events'::regclass
        LOOP EXECUTE 'DROP TABLE ' || one; END LOOP; END $$""",
    )
    found = named((await look(database_url)).findings, "partitions")
    assert found.verdict == Verdict.FAULT
    assert "`events_" in found.detail
    assert "`job_status_" not in found.detail


@pytest.mark.parametrize(
    ("age", "verdict"),
    [("30 seconds", Verdict.OK), ("5 minutes", Verdict.WARNING), ("2 hours", Verdict.FAULT)],
)
async def test_commands_that_nobody_delivers(database_url: str, age: str, verdict: Verdict) -> None:
    await execute(
        database_url,
        "INSERT INTO commands (schedule_id, kind, due_at, error) "
        f"VALUES ('sch_1', 'schedule', now() - interval '{age}', 'Temporal is away')",
    )
    found = named((await look(database_url)).findings, "outbox")
    assert found.verdict == verdict
    assert ("Temporal is away" in found.detail) == (verdict != Verdict.OK)


@pytest.mark.parametrize(
    ("age", "verdict"),
    [("30 seconds", Verdict.OK), ("5 minutes", Verdict.WARNING), ("2 hours", Verdict.FAULT)],
)
async def test_entries_that_nobody_seals(database_url: str, age: str, verdict: Verdict) -> None:
    await execute(
        database_url,
        "INSERT INTO audit_log (actor, action, subject, created_at) "
        f"VALUES ('ann', 'job.cancel', 'x', now() - interval '{age}')",
    )
    found = named((await look(database_url)).findings, "audit")
    assert found.verdict == verdict
    assert found.detail.startswith("1 entries")
    assert ("audit.sealing_failed" in found.fix) == (verdict != Verdict.OK)
    await execute(database_url, "SELECT audit_seal_pending(10)")
    assert named((await look(database_url)).findings, "audit").verdict == Verdict.OK


async def test_providers_and_keys_are_told(database_url: str) -> None:
    await execute(
        database_url,
        r"""INSERT INTO providers (id, type, status, message, credentials, enabled) VALUES
        ('a', 'akash', 'offline', 'no answer', '\x026b31ffff'::bytea, true),
        ('b', 'akash', 'online', '', NULL, false)""",
    )
    report = await look(database_url)
    assert report.providers is not None
    assert [(one.id, one.status, one.message) for one in report.providers] == [
        ("a", "offline", "no answer")
    ]
    assert report.stored is not None
    assert [(each.key, each.count, each.example.place) for each in report.stored] == [
        ("k1", 1, provider_place("a"))
    ]


async def test_one_that_takes_the_connection_and_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PATIENCE", 2)  # seconds; the least that libpq takes
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        report = await look(f"postgresql://u:p@127.0.0.1:{port}/x")
    found = named(report.findings, "database")
    assert "does not answer within 2 s" in found.detail
    assert "look at its load" in found.fix
