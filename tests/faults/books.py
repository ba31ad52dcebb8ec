"""The books as they are kept: the rows of the database, and what each network says of itself."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
_TRIES = 20


@dataclass(frozen=True)
class Entry:
    """What a network has on its own books under one id: a lease, and its bill."""

    network: str
    id: str
    key: str | None
    alive: bool
    amount: Decimal = Decimal(0)
    currency: str = ""
    final: bool = True


@dataclass(frozen=True)
class Books:
    """Everything that is checked, read once."""

    jobs: Sequence[Row] = ()
    history: Sequence[Row] = ()
    leases: Sequence[Row] = ()
    ledger: Sequence[Row] = ()
    events: Sequence[Row] = ()
    groups: Sequence[Row] = ()
    reserves: Sequence[Row] = ()
    networks: Sequence[Entry] = ()
    ignored: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """What the networks had on their books before: (network, id)."""

    def new_entries(self) -> list[Entry]:
        """What came onto the networks' books since."""
        return [entry for entry in self.networks if (entry.network, entry.id) not in self.ignored]


_QUERIES = {
    "jobs": "SELECT * FROM jobs ORDER BY id",
    "history": "SELECT job_id, state, created_at FROM job_status ORDER BY job_id, id",
    "leases": "SELECT * FROM leases ORDER BY job_id, attempt",
    "ledger": "SELECT * FROM ledger ORDER BY lease_key, created_at, id",
    "events": "SELECT tx, seq, type, subject, job_id, data FROM events "
    "WHERE job_id IS NOT NULL ORDER BY job_id, tx, seq",
    "groups": "SELECT * FROM job_groups ORDER BY id",
    "reserves": "SELECT * FROM job_reserves WHERE released_at IS NULL ORDER BY job_id",
}


async def read_books(
    database_url: str,
    networks: Mapping[str, str] | None = None,
    *,
    ignored: frozenset[tuple[str, str]] = frozenset(),
) -> Books:
    """Read the database, and from each simulator (provider id to its URL) what it has."""
    tables: dict[str, list[Row]] = {}
    connect = psycopg.AsyncConnection.connect(database_url, row_factory=dict_row)
    async with await connect as connection:
        # One snapshot: what is still being written is seen wholly or not at all.
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        for name, query in _QUERIES.items():
            tables[name] = await (await connection.execute(query.encode())).fetchall()
    entries = await network_entries(networks or {})
    return Books(**tables, networks=entries, ignored=ignored)


async def network_entries(networks: Mapping[str, str]) -> list[Entry]:
    """What all these simulators have on their books."""
    lists = await asyncio.gather(*(_entries(name, url) for name, url in networks.items()))
    return [entry for one in lists for entry in one]


async def known_entries(networks: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """What is on the networks' books by now: to be ignored later."""
    return frozenset((entry.network, entry.id) for entry in await network_entries(networks))


async def _entries(network: str, url: str) -> list[Entry]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        leases = await _ask(http, "/_sim/leases")
        bills = {bill["id"]: bill for bill in await _ask(http, "/_sim/bill")}
    return [
        Entry(
            network=network,
            id=str(lease["id"]),
            key=lease["key"],
            alive=bool(lease["alive"]),
            amount=Decimal(str(bills.get(lease["id"], {}).get("amount", 0))),
            currency=bills.get(lease["id"], {}).get("currency", ""),
            final=bool(bills.get(lease["id"], {}).get("final", True)),
        )
        for lease in leases
    ]


async def _ask(http: httpx.AsyncClient, path: str) -> list[Row]:
    for tries in range(_TRIES):
        try:
            answer = await http.get(path)
            answer.raise_for_status()
            rows: list[Row] = answer.json()
            return rows
        except httpx.HTTPError:
            if tries == _TRIES - 1:
                raise
            await asyncio.sleep(0.5)  # it may just be starting again
    raise AssertionError("not reached")
