"""Failed logins are slowed down, for all processes together, and never for good."""

import asyncio
import math
from datetime import timedelta

import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.lockout import LockoutRules, network_of
from cortex.domain.login_errors import LockedOut
from cortex.domain.rights import Principal, Role
from cortex.services.accounts.lockout import Lockout

RULES = LockoutRules(first_wait=timedelta(minutes=1), longest_wait=timedelta(hours=1))
"""Minutes: a machine that stands still for a second changes nothing."""


def coming_from(source: str = "192.0.2.1") -> Principal:
    return Principal(name="", role=Role.VIEWER, source=source)


async def fails(lockout: Lockout, name: str = "ann", source: str = "192.0.2.1") -> int:
    """One failed login; how many minutes it had to wait; 0: it need not."""
    try:
        await lockout.begin(name, coming_from(source))
    except LockedOut as error:
        return math.ceil(error.retry_after / 60)
    return 0


async def pass_by(database: Database, minutes: float) -> None:
    """Let so much time pass for what is counted."""
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(
                "UPDATE login_attempts SET last_at = last_at - CAST(:by AS interval), "
                "locked_until = locked_until - CAST(:by AS interval)"
            ),
            {"by": timedelta(minutes=minutes)},
        )


async def waits(database: Database, lockout: Lockout, failures: int) -> list[int]:
    """What each of so many failures in a row, from new addresses, has to wait after it."""
    told = []
    for number in range(failures):
        assert await fails(lockout, source=f"198.51.100.{number}") == 0
        wait = await fails(lockout, source=f"203.0.113.{number}")
        told.append(wait)
        await pass_by(database, wait)
    return told


class TestAccounts:
    async def test_the_wait_doubles_up_to_a_limit(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        for number in range(4):
            assert await fails(lockout, source=f"192.0.2.{number}") == 0
        assert await waits(database, lockout, 12) == [1, 2, 4, 8, 16, 32] + [60] * 6

    async def test_other_accounts_are_not_held_up(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        for _ in range(5):
            assert await fails(lockout) == 0
        assert await fails(lockout) == 1
        assert await fails(lockout, name="bob") == 0

    async def test_an_unknown_user_is_held_up_alike(self, database: Database) -> None:
        """Else waiting would tell who exists: here there is nobody at all."""
        lockout = Lockout(database, RULES)
        assert [await fails(lockout, name="nobody") for _ in range(6)] == [0] * 5 + [1]

    async def test_a_success_forgets_those_of_the_account(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        for _ in range(4):
            await fails(lockout)
        assert await fails(lockout) == 0
        await lockout.succeeded("ann", coming_from())
        assert [await fails(lockout) for _ in range(6)] == [0] * 5 + [1]

    async def test_time_forgets_too(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        for _ in range(5):
            await fails(lockout)
        await pass_by(database, RULES.forget / timedelta(minutes=1) + 1)
        assert [await fails(lockout) for _ in range(6)] == [0] * 5 + [1]

    async def test_whoever_waits_does_not_make_it_longer(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        for _ in range(5):
            await fails(lockout)
        assert {await fails(lockout) for _ in range(5)} == {1}
        await pass_by(database, 1)
        assert await fails(lockout) == 0

    async def test_many_at_once_are_as_many_as_one_after_another(self, database: Database) -> None:
        several = [Lockout(database, RULES) for _ in range(3)]
        told = await asyncio.gather(*(fails(several[number % 3]) for number in range(9)))
        assert sorted(told)[:6] == [0, 0, 0, 0, 0, 1]

    async def test_who_logs_in_from_a_known_address_is_not_kept_out_by_others(
        self, database: Database
    ) -> None:
        lockout = Lockout(database, RULES)
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("INSERT INTO users (id, name, role) VALUES ('usr_1', 'ann', 'viewer')")
            )
            await tx.connection.execute(
                text(
                    "INSERT INTO sessions (id, user_id, source, expires_at, longest_until) "
                    "VALUES ('ses_1', 'usr_1', '192.0.2.77', now(), now())"
                )
            )
        for _ in range(5):
            await fails(lockout)
        assert await fails(lockout) == 1
        assert await fails(lockout, source="192.0.2.77") == 0
        # There the failures of the address count.
        assert [await fails(lockout, source="192.0.2.77") for _ in range(20)] == [0] * 19 + [1]


class TestAddresses:
    async def test_one_that_tries_many_accounts_has_to_wait(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        told = [await fails(lockout, name=f"user{number}") for number in range(21)]
        assert told == [0] * 20 + [1]
        assert await fails(lockout, name="user1", source="198.51.100.1") == 0

    async def test_it_holds_up_no_accounts_while_it_waits(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        for number in range(20):
            await fails(lockout, name=f"user{number}")
        for _ in range(10):
            assert await fails(lockout, name="ann") == 1
        assert await fails(lockout, name="ann", source="198.51.100.1") == 0

    async def test_a_good_account_does_not_wash_it_clean(self, database: Database) -> None:
        lockout = Lockout(database, RULES)
        for number in range(19):
            await fails(lockout, name=f"user{number}")
            await fails(lockout, name="mallory")
            await lockout.succeeded("mallory", coming_from())
        assert await fails(lockout, name="ann") == 0
        assert await fails(lockout, name="bob") == 1

    def test_a_network_of_ipv6_is_one(self) -> None:
        one, other = (network_of(f"2001:db8:1:2:{end}::1") for end in ("a", "b"))
        assert one == other == "2001:db8:1:2::/64"
        assert network_of("2001:db8:1:3::1") != one
        assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
        assert network_of("") == ""


async def test_it_is_told_in_the_audit_log_once(database: Database) -> None:
    lockout = Lockout(database, RULES)
    for _ in range(8):
        await fails(lockout)
    query = text("SELECT subject, outcome, source FROM audit_log WHERE action = 'session.lockout'")
    async with database.reading() as tx:
        rows = (await tx.connection.execute(query)).all()
    assert rows == [("ann", "denied", "192.0.2.1")]


@pytest.mark.parametrize("field", ["account_free", "address_free"])
def test_rules_that_would_lock_at_once_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        LockoutRules.model_validate({field: 1})
