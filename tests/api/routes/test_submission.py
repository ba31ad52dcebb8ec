"""Submitting jobs: what is accepted, what is refused and how it is said."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import BatchAccepted, JobView, Validation
from tests.api.support import JOBS, check_problem, spec, submit


async def count(database: Database, table: str) -> int:
    async with database.transaction() as tx:
        total = await tx.connection.scalar(text(f"SELECT count(*) FROM {table}"))
    return int(total or 0)


def _nine_times(name: str, other: str) -> bytes:
    """A YAML list with the name that holds nine times another one."""
    aliases = ",".join([f"*{other}"] * 9)
    return f"{name}: &{name} [{aliases}]\n".encode()


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"colour": "red"}, "colour", "is not a known field"),
    ({"resources": {"memory": "512 Quux"}}, "resources.memory", "is no size"),
    ({"resources": {"cpu": -1}}, "resources.cpu", "greater than"),
    ({"resources": {"cpu": 100_000}}, "resources.cpu", "less than"),
    ({"resources": {"memory": "9000Ti"}}, "resources.memory", "less than"),
    ({"resources": {"gpu": {"count": 0}}}, "resources.gpu.count", "greater than"),
    ({"command": []}, "spec", "needs an `image`, a `command`"),
    ({"command": ["  "]}, "command", "program to run"),
    ({"command": "echo hi"}, "command", "must be a list"),
    ({"env": {"BIG": "x" * 2**20}}, "env", "may have at most 131,072"),
    ({"env": {"BAD NAME": "x"}}, "env", "letters, digits"),
    ({"placement": {"providers": ["akash-main"]}}, "placement.providers", "known are docker, loc"),
    ({"placement": {"max_price": 0.5}}, "placement.max_price", "no currency"),
    ({"placement": {"max_price": "1 XYZ"}}, "placement.max_price", "no provider has a rate"),
    ({"budget": "0 USD"}, "budget", "more than zero"),
    ({"duration": "soon"}, "duration", "is no duration"),
    ({"duration": "60d"}, "duration", "at most 30d"),
    ({"duration": -5}, "duration", "greater than"),
    ({"duration": "400d"}, "duration", "must be less than or equal to 90d"),
    ({"resources": {"memory": "9000Ti"}}, "resources.memory", "less than or equal to 64Ti"),
    ({"name": "Not A Name!"}, "name", "lower-case"),
    ({"ports": [{"port": 80, "name": "a\0b"}]}, "", "NUL"),
]


class TestRefusals:
    @pytest.mark.parametrize(("bad", "field", "words"), BAD)
    async def test_a_bad_field_is_named(
        self,
        client: httpx.AsyncClient,
        database: Database,
        bad: dict[str, Any],
        field: str,
        words: str,
    ) -> None:
        for path in (JOBS, f"{JOBS}/validate"):
            problem = check_problem(
                await client.post(path, json=spec(**bad)), 422, "invalid_request"
            )
            if field:
                assert [error.field for error in problem.errors] == [field]
                assert words in problem.errors[0].message
            assert words in problem.detail
        assert await count(database, "jobs") == 0
        assert await count(database, "events") == 0

    async def test_nobody_can_run_it(self, client: httpx.AsyncClient, database: Database) -> None:
        answer = await client.post(JOBS, json=spec(resources={"memory": "16Gi"}))
        problem = check_problem(answer, 422, "no_provider")
        said = {error.field: error.message for error in problem.errors}
        assert said.keys() == {"docker", "local"}
        assert said["local"] == "`resources.memory`: it has 8Gi of memory, 16Gi are asked for"
        assert "container images only" in said["docker"]
        assert await count(database, "jobs") == 0

    async def test_over_budget_says_the_cheapest_price(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(JOBS, json=spec(budget="0.001 USD"))
        problem = check_problem(answer, 422, "over_budget")
        assert "0.01 USD" in problem.detail
        answer = await client.post(JOBS, json=spec(placement={"max_price": "0.001 USD"}))
        problem = check_problem(answer, 422, "over_budget")
        assert "`local` with 0.01 USD per hour" in problem.detail

    @pytest.mark.parametrize(
        ("body", "kind", "where"),
        [
            (b'{"name": "x",\n "command": [}', "application/json", "line 2, column 14"),
            (b"\xff\xfe", "application/json", "JSON"),
            (b"[1, 2]", "application/json", "must be an object"),
            (b"", "application/json", "empty"),
            (b"name: x\ncommand: [a\n", "application/yaml", "line 3"),
            (b"name: x\nname: y\ncommand: [a]", "application/yaml", "line 2, column 1"),
            (b"[" * 5000, "application/yaml", "nested too deeply"),
            (b"[" * 5000, "application/json", "JSON"),
            (b"name: !!python/object:os.system {}", "application/yaml", "line 1"),
            (
                b"a: &a [x,x,x,x,x,x,x,x,x]\n"
                + b"".join(_nine_times(chr(98 + n), chr(97 + n)) for n in range(9)),
                "application/yaml",
                "too large",
            ),
        ],
    )
    async def test_a_body_that_cannot_be_read(
        self, client: httpx.AsyncClient, body: bytes, kind: str, where: str
    ) -> None:
        answer = await client.post(JOBS, content=body, headers={"content-type": kind})
        assert where in check_problem(answer, 400, "malformed_body").detail

    async def test_another_content_type(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(JOBS, content=b"x", headers={"content-type": "text/plain"})
        check_problem(answer, 415, "unsupported_media_type")

    async def test_a_body_that_is_too_large(self, client: httpx.AsyncClient) -> None:
        big = b'{"name": "' + b"x" * (3 * 2**20) + b'"}'

        async def chunks() -> Any:
            for start in range(0, len(big), 65536):
                yield big[start : start + 65536]

        for content in (big, chunks()):
            answer = await client.post(JOBS, content=content)
            assert "2Mi" in check_problem(answer, 413, "payload_too_large").detail

    async def test_a_disabled_provider_is_not_able(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as tx:
            await tx.providers.declare("local", "local", enabled=False)
        problem = check_problem(await client.post(JOBS, json=spec()), 422, "no_provider")
        assert any("it is switched off" in error.message for error in problem.errors)


class TestIdempotency:
    async def test_the_same_request_makes_one_job(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        answers = await asyncio.gather(
            *(client.post(JOBS, json=spec(), headers={"idempotency-key": "k-1"}) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
        assert sorted(map(str, replayed)) == ["None"] + ["true"] * 19
        assert await count(database, "jobs") == 1
        assert await count(database, "commands") == 1

    async def test_another_body_is_a_conflict(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        headers = {"idempotency-key": "k-2"}
        first = spec(secret_env={"A": "1"})
        assert (await client.post(JOBS, json=first, headers=headers)).status_code == 202
        for other in (spec(name="other"), spec(secret_env={"A": "2"})):
            answer = await client.post(JOBS, json=other, headers=headers)
            check_problem(answer, 409, "idempotency_key_reused")
        answer = await client.post(f"{JOBS}/batch", json={"jobs": [first]}, headers=headers)
        check_problem(answer, 409, "idempotency_key_reused")
        assert await count(database, "jobs") == 1

    async def test_the_same_spec_written_otherwise_is_the_same(
        self, client: httpx.AsyncClient
    ) -> None:
        headers = {"idempotency-key": "k-3"}
        first = await client.post(JOBS, json=spec(duration="60m"), headers=headers)
        again = await client.post(JOBS, json=spec(duration=3600), headers=headers)
        # As models: PostgreSQL leaves out the last zeros of a time.
        seen = [JobView.model_validate_json(answer.content) for answer in (first, again)]
        assert seen[0] == seen[1]
        assert again.headers["idempotency-replayed"] == "true"

    async def test_a_refused_request_does_not_use_up_its_key(
        self, client: httpx.AsyncClient
    ) -> None:
        headers = {"idempotency-key": "k-4"}
        bad = await client.post(JOBS, json=spec(budget="0.001 USD"), headers=headers)
        assert bad.status_code == 422
        assert (await client.post(JOBS, json=spec(), headers=headers)).status_code == 202

    @pytest.mark.parametrize("key", ["", " ", "x" * 256])
    async def test_a_bad_key(self, client: httpx.AsyncClient, key: str) -> None:
        answer = await client.post(JOBS, json=spec(), headers={"idempotency-key": key})
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == "Idempotency-Key"


class TestBatch:
    async def test_all_are_accepted_in_their_order(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        jobs = [spec(name=f"job-{number}") for number in range(300)]
        headers = {"idempotency-key": "batch"}
        answer = await client.post(f"{JOBS}/batch", json={"jobs": jobs}, headers=headers)
        assert answer.status_code == 202, answer.text
        accepted = BatchAccepted.model_validate_json(answer.content)
        assert [job.name for job in accepted.jobs] == [job["name"] for job in jobs]
        again = await client.post(f"{JOBS}/batch", json={"jobs": jobs}, headers=headers)
        assert again.json() == answer.json()
        assert again.headers["idempotency-replayed"] == "true"
        for table in ("jobs", "commands", "events"):
            assert await count(database, table) == 300

    async def test_one_wrong_field_refuses_all(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        jobs = [spec() for _ in range(30)]
        jobs[17] = spec(resources={"memory": "lots"})
        answer = await client.post(f"{JOBS}/batch", json={"jobs": jobs})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["jobs[17].resources.memory"]
        assert "jobs[17].resources.memory" in problem.detail
        assert await count(database, "jobs") == 0

    async def test_one_that_nobody_can_run_refuses_all(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        jobs = [spec() for _ in range(30)]
        jobs[21] = spec(resources={"memory": "16Gi"})
        answer = await client.post(f"{JOBS}/batch", json={"jobs": jobs})
        problem = check_problem(answer, 422, "no_provider")
        assert {error.field for error in problem.errors} == {"jobs[21]"}
        assert problem.detail.startswith("jobs[21]: ")
        jobs[21] = spec(placement={"providers": ["nope"]})
        answer = await client.post(f"{JOBS}/batch", json={"jobs": jobs})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["jobs[21].placement.providers"]
        assert await count(database, "jobs") == 0

    @pytest.mark.parametrize("size", [0, 1001])
    async def test_the_size_is_bounded(self, client: httpx.AsyncClient, size: int) -> None:
        answer = await client.post(f"{JOBS}/batch", json={"jobs": [spec()] * size})
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == "jobs"


class TestValidate:
    async def test_says_who_and_how_much(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        answer = await client.post(f"{JOBS}/validate", json=spec(duration="2h"))
        assert answer.status_code == 200
        validation = Validation.model_validate_json(answer.content)
        assert validation.spec == JobSpec.model_validate(spec(duration="2h"))
        assert [
            (estimate.provider_id, str(estimate.most)) for estimate in validation.estimates
        ] == [("local", "0.02 USD")]
        assert [objection.provider_id for objection in validation.objections] == ["docker"]
        assert await count(database, "jobs") == 0


class TestTemporalAway:
    async def test_a_job_is_accepted_and_its_start_waits(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        await asyncio.sleep(0.3)
        async with database.transaction() as tx:
            assert await tx.commands.pending(job_id) == 1

    async def test_a_quote_says_what_is_away(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/api/v1/quotes", json=spec())
        problem = check_problem(answer, 503, "temporal_unavailable")
        assert "Temporal" in problem.detail
        assert answer.headers["retry-after"]


class TestInputs:
    async def test_only_outputs_that_are_there(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE providers SET capabilities = capabilities || '{\"inputs\": true}'")
            )
        source = await submit(client)
        unknown = f"job_{'0' * 26}"
        waits = {"from": source, "path": "data"}
        for given, field, words in (
            ({"from": "prep"}, "from", "must be the id of a job"),
            ({"from": unknown}, "from", f"there is no job `{unknown}`"),
            (waits, "from", "is `pending`; its outputs are there when it has ended"),
        ):
            await self._refused(client, given, field, words)
        await self._end(database, source)
        await self._refused(client, waits, "from", "kept no outputs")
        async with database.transaction() as tx:
            await tx.outputs.replace(source, 1, [("data/a.txt", 1, "0" * 64)])
        await self._refused(
            client, {"from": source, "path": "dat"}, "path", "kept no `dat`; it kept `data/a.txt`"
        )
        for given in (waits, {"from": source}, {"from": source, "path": "data/a.txt", "to": "in"}):
            answer = await client.post(JOBS, json=spec(inputs=[given]))
            assert answer.status_code == 202, answer.text
            assert answer.json()["spec"]["inputs"][0]["from"] == source

    async def test_two_files_of_one_name_in_one_folder(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE providers SET capabilities = capabilities || '{\"inputs\": true}'")
            )
        sources = [await submit(client), await submit(client)]
        for number, source in enumerate(sources):
            await self._end(database, source)
            files = [("data/a.txt", 1, str(number) * 64), ("data/same.txt", 1, "f" * 64)]
            async with database.transaction() as tx:
                await tx.outputs.replace(source, 1, files)
        both = [{"from": source, "path": "data"} for source in sources]
        answer = await client.post(JOBS, json=spec(inputs=both))
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["inputs[1].to"]
        assert f"another `a.txt` in the place of that from `{sources[0]}`" in str(problem.errors)
        same = [{**entry, "path": "data/same.txt"} for entry in both]
        apart = [both[0], {**both[1], "to": "second"}]
        for inputs in (same, apart):
            answer = await client.post(JOBS, json=spec(inputs=inputs))
            assert answer.status_code == 202, answer.text

    async def test_a_network_must_take_files(self, client: httpx.AsyncClient) -> None:
        job = {"name": "a", "command": ["true"], "outputs": ["x"]}
        after = {"name": "b", "command": ["true"], "after": ["a"], "inputs": [{"from": "a"}]}
        answer = await client.post("/api/v1/groups", json={"jobs": [job, after]})
        problem = check_problem(answer, 422, "no_provider")
        assert "`inputs`: it takes no files for a job" in str(problem.errors)

    async def _refused(
        self, client: httpx.AsyncClient, given: dict[str, str], field: str, words: str
    ) -> None:
        job = spec(inputs=[given])
        for path, body, before in (
            (JOBS, job, ""),
            (f"{JOBS}/validate", job, ""),
            (f"{JOBS}/batch", {"jobs": [spec(), job]}, "jobs[1]."),
        ):
            problem = check_problem(await client.post(path, json=body), 422, "invalid_request")
            assert [error.field for error in problem.errors] == [f"{before}inputs[0].{field}"]
            assert words in problem.errors[0].message

    async def _end(self, database: Database, job_id: str) -> None:
        async with database.transaction() as tx:
            for state in ("placing", "settling", "completed"):
                await tx.connection.execute(
                    text("UPDATE jobs SET state = :state WHERE id = :id"),
                    {"state": state, "id": job_id},
                )
