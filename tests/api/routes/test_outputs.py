"""Result files, the ledger and reports on it."""

import hashlib
import io
import tarfile
from decimal import Decimal
from urllib.parse import quote

import httpx
import pytest

from cortex.db.engine import Database
from cortex.db.jobs.outputs import NotKept, Others
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Offer
from cortex.schemas.jobs import OutputView
from cortex.schemas.money import CostReport, LedgerPage
from cortex.settings import Settings
from tests.api.support import JOBS, check_problem, submit

FILES = {"result.txt": b"0123456789", "deep/er/ünï cödé.html": b"<script>x</script>"}


async def store(
    database: Database, settings: Settings, job_id: str, files: dict[str, bytes]
) -> None:
    for name, content in files.items():
        path = settings.outputs_dir / job_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    rows = [(n, len(content), hashlib.sha256(content).hexdigest()) for n, content in files.items()]
    async with database.transaction() as tx:
        await tx.outputs.replace(job_id, 1, rows)


class TestOutputs:
    async def test_lists_and_downloads(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        job_id = await submit(client)
        path = f"{JOBS}/{job_id}/outputs"
        assert (await client.get(path)).json() == []
        await store(database, settings, job_id, FILES)
        listed = [OutputView.model_validate(row) for row in (await client.get(path)).json()]
        assert {output.path: output.size for output in listed} == {
            n: len(c) for n, c in FILES.items()
        }
        for output in listed:
            answer = await client.get(f"{path}/{output.path}")
            assert answer.content == FILES[output.path]
            assert answer.headers["etag"] == f'"{output.sha256}"'
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["x-content-type-options"] == "nosniff"
            unchanged = {"if-none-match": answer.headers["etag"]}
            again = await client.get(f"{path}/{output.path}", headers=unchanged)
            assert again.status_code == 304

    async def test_parts_and_head(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        job_id = await submit(client)
        await store(database, settings, job_id, FILES)
        path = f"{JOBS}/{job_id}/outputs/result.txt"
        part = await client.get(path, headers={"range": "bytes=3-5"})
        assert (part.status_code, part.content) == (206, b"345")
        assert part.headers["content-range"] == "bytes 3-5/10"
        stale = await client.get(path, headers={"range": "bytes=3-5", "if-range": '"old"'})
        assert (stale.status_code, stale.content) == (200, b"0123456789")
        head = await client.head(path)
        assert (head.headers["content-length"], head.content) == ("10", b"")

    async def test_an_archive_of_all(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        job_id = await submit(client)
        await store(database, settings, job_id, FILES)
        answer = await client.get(f"{JOBS}/{job_id}/outputs", params={"archive": "tar"})
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            unpacked = {}
            for member in archive.getmembers():
                file = archive.extractfile(member)
                assert file is not None
                unpacked[member.name] = file.read()
        assert unpacked == FILES

    async def test_odd_names_empty_folders_and_what_is_left_out(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        job_id = await submit(client)
        names = ["caf%E9.txt", "a b/%#?&+=;'\"", "back\\slash", " ", "-rf", f"{7:0255}"]
        files = {name: name.encode() for name in names}
        await store(database, settings, job_id, files)
        (settings.outputs_dir / job_id / "empty").mkdir()
        others = Others(
            raw={"caf%E9.txt": b"caf\xe9.txt"},
            folders=["empty"],
            left_out=[
                NotKept("*.csv", "matches nothing"),
                NotKept("p%E9", "is a named pipe", b"p\xe9"),
            ],
        )
        rows = [(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in files.items()]
        async with database.transaction() as tx:
            await tx.outputs.replace(job_id, 1, rows, others)
        path = f"{JOBS}/{job_id}/outputs"
        listed = {output["path"]: output for output in (await client.get(path)).json()}
        assert set(listed) == {*names, "empty"}
        assert listed["caf%E9.txt"]["raw_path"] == "caf%E9.txt"
        assert listed["-rf"]["raw_path"] is None
        assert (listed["empty"]["kind"], listed["empty"]["sha256"]) == ("folder", "")
        for name in names:
            answer = await client.get(f"{path}/{quote(name)}")
            assert (answer.status_code, answer.content) == (200, files[name])
        assert (await client.get(f"{path}/empty")).status_code == 404
        left = (await client.get(f"{JOBS}/{job_id}/left-out")).json()
        assert left == [
            {"path": "*.csv", "reason": "matches nothing", "raw_path": None},
            {"path": "p%E9", "reason": "is a named pipe", "raw_path": "p%E9"},
        ]
        answer = await client.get(path, params={"archive": "tar"})
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            kinds = {member.name: member.isdir() for member in archive.getmembers()}
        assert kinds == {**dict.fromkeys(names, False), "empty": True}

    async def test_all_that_is_left_out_is_listed(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        left_out = [NotKept(f"p{n:04}", "is a named pipe") for n in range(1_500)]
        async with database.transaction() as tx:
            await tx.outputs.replace(job_id, 1, [], Others(left_out=left_out))
        assert len((await client.get(f"{JOBS}/{job_id}/left-out")).json()) == 1_500

    @pytest.mark.parametrize(
        "name", ["other.txt", "../secret", "..%2Fsecret", "%2Fetc%2Fpasswd", "gone", "link"]
    )
    async def test_nothing_else_is_served(
        self, client: httpx.AsyncClient, database: Database, settings: Settings, name: str
    ) -> None:
        job_id = await submit(client)
        await store(database, settings, job_id, {"gone": b"x", "link": b"secret"})
        folder = settings.outputs_dir / job_id
        secret = settings.outputs_dir / "secret"
        secret.write_bytes(b"secret")
        (folder / "gone").unlink()
        (folder / "link").unlink()
        (folder / "link").symlink_to(secret)
        answer = await client.get(f"{JOBS}/{job_id}/outputs/{name}")
        assert answer.status_code == 404
        assert b"secret" not in answer.content.replace(b"/secret", b"")


async def charge(
    database: Database, job_id: str, provider: str, amount: str | None, hold: str = "1"
) -> None:
    price = Money(amount=Decimal(1), currency="USD")
    key = f"{job_id}-1"
    async with database.transaction() as tx:
        await tx.leases.add(key, job_id, 1, offer=Offer(provider_id=provider, price_per_hour=price))
        lease = await tx.leases.get(key)
        await tx.ledger.add(lease, EntryKind.HOLD, Money(amount=Decimal(hold), currency="USD"))
        if amount is not None:
            money = Money(amount=Decimal(amount), currency="USD")
            await tx.ledger.add(lease, EntryKind.CHARGE, money)
            await tx.ledger.add(lease, EntryKind.RELEASE, Money.zero())


class TestMoney:
    async def test_the_ledger_in_pages(self, client: httpx.AsyncClient, database: Database) -> None:
        jobs = [await submit(client) for _ in range(3)]
        for job_id in jobs:
            await charge(database, job_id, "local", "0.25")
        seen: list[str] = []
        cursor = ""
        while True:
            params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            answer = await client.get("/api/v1/ledger", params=params)
            page = LedgerPage.model_validate_json(answer.content)
            seen += [entry.id for entry in page.items]
            cursor = page.next_cursor or ""
            if not cursor:
                break
        assert len(seen) == len(set(seen)) == 9
        for path in (f"{JOBS}/{jobs[1]}/ledger", f"/api/v1/ledger?job={jobs[1]}"):
            page = LedgerPage.model_validate_json((await client.get(path)).content)
            assert sorted(entry.kind for entry in page.items) == ["charge", "hold", "release"]
            assert {entry.job_id for entry in page.items} == {jobs[1]}

    async def test_costs_by_group(self, client: httpx.AsyncClient, database: Database) -> None:
        one = await submit(client, labels={"team": "a"})
        two = await submit(client, labels={"team": "b"})
        three = await submit(client)
        await charge(database, one, "local", "0.25")
        await charge(database, two, "docker", "0.5")
        await charge(database, three, "docker", None, hold="2")
        wanted = {
            "provider": {"docker": ("0.5 USD", "2 USD"), "local": ("0.25 USD", "0 USD")},
            "owner": {"local": ("0.75 USD", "2 USD")},
            "label:team": {
                "a": ("0.25 USD", "0 USD"),
                "b": ("0.5 USD", "0 USD"),
                "(none)": ("0 USD", "2 USD"),
            },
        }
        for group_by, rows in wanted.items():
            answer = await client.get("/api/v1/costs", params={"group_by": group_by})
            report = CostReport.model_validate_json(answer.content)
            sums = {row.group: (str(row.charged), str(row.held)) for row in report.rows}
            assert sums == rows, group_by
            assert [str(money) for money in report.total] == ["0.75 USD"]
        day = (await client.get("/api/v1/costs?group_by=day")).json()["rows"]
        assert [len(row["group"]) for row in day] == [10]
        later = await client.get("/api/v1/costs?since=2100-01-01T00:00:00Z")
        assert later.json()["rows"] == []
        for bad in ("color", "label:"):
            answer = await client.get("/api/v1/costs", params={"group_by": bad})
            check_problem(answer, 422, "invalid_request")
