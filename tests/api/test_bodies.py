"""Bodies are taken as they were written, or refused; the CLI's files are read the same way."""

import gzip

import httpx
import pytest

from cortex.schemas.jobs import JobView, Validation
from tests.api.support import JOBS, check_problem, spec

YAML = {"content-type": "application/yaml"}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("kind", ["gzip", "br", "identity, gzip"])
async def test_a_body_that_is_compressed(client: httpx.AsyncClient, kind: str) -> None:
    body = gzip.compress(b'{"command": ["true"]}')
    headers = {**JSON, "content-encoding": kind}
    for path in (JOBS, f"{JOBS}/batch", "/graphql"):
        answer = await client.post(path, content=body, headers=headers)
        problem = check_problem(answer, 415, "unsupported_media_type")
        assert f"`Content-Encoding: {kind}`" in problem.detail


async def test_a_body_as_it_is(client: httpx.AsyncClient) -> None:
    headers = {**JSON, "content-encoding": "Identity"}
    answer = await client.post(JOBS, content=b'{"command": ["true"]}', headers=headers)
    assert answer.status_code == 202, answer.text


async def test_text_is_as_it_was_written(client: httpx.AsyncClient) -> None:
    for body, headers in (
        (b"command: [echo, 010, yes]\nenv: {A: NO, B: 3.10, C: 0644}\nlabels: {y: 2024}\n", YAML),
        (
            b'{"command": ["echo", "010", "yes"], "labels": {"y": 2024},'
            b' "env": {"A": "NO", "B": 3.10, "C": "0644"}}',
            JSON,
        ),
    ):
        answer = await client.post(JOBS, content=body, headers=headers)
        assert answer.status_code == 202, answer.text
        spec = JobView.model_validate_json(answer.content).spec
        assert spec.command == ("echo", "010", "yes")
        assert spec.env == {"A": "NO", "B": "3.10", "C": "0644"}
        assert spec.labels == {"y": "2024"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "key"),
    [
        (JOBS, b'{"command": ["a"], "env": {"A": "1", "A": "2"}}', JSON, "env.A"),
        (JOBS, b"command: [a]\nenv: {A: 1, 'A': 2}\n", YAML, "env.A"),
        (f"{JOBS}/batch", b'{"jobs": [{"name": "a", "name": "b"}]}', JSON, "jobs[0].name"),
        ("/api/v1/groups", b'{"jobs": [], "jobs": []}', JSON, "jobs"),
        (f"{JOBS}/job_{'0' * 26}/cancel", b'{"reason": "a", "reason": "b"}', JSON, "reason"),
        ("/api/v1/budgets", b'{"name": "a", "name": "b"}', JSON, "name"),
        ("/api/v1/providers", b'{"config": {"k": 1, "k": 2}}', JSON, "config.k"),
    ],
)
async def test_a_key_that_stands_twice(
    client: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, str], key: str
) -> None:
    answer = await client.post(path, content=body, headers=headers)
    problem = check_problem(answer, 400, "malformed_body")
    assert (
        f"`{key}` stands there twice in line 1" in problem.detail or "in line 2" in problem.detail
    )
    assert [error.field for error in problem.errors] == [key]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b"command: [a]\nduration: 1:30\n", "duration", "`1m30s` or `1h30m`"),
        (b"command: [a]\nretries: 010\n", "retries", "`8` or `10`"),
        (b"command: [a]\nresources: {memory: 4g}\n", "resources.memory", "`4Gi`"),
        (b"command: [a]\nargs: ['%s']\n" % (b"x" * 131_072), "args[0]", "MAX_ARG_STRLEN"),
    ],
)
async def test_what_cannot_be_taken(
    client: httpx.AsyncClient, body: bytes, field: str, words: str
) -> None:
    for path in (JOBS, f"{JOBS}/validate", "/api/v1/quotes"):
        problem = check_problem(
            await client.post(path, content=body, headers=YAML), 422, "invalid_request"
        )
        assert [error.field for error in problem.errors] == [field]
        assert words in problem.errors[0].message


@pytest.mark.parametrize("number", ["2", "2.0", "2e0"])
@pytest.mark.parametrize("form", ["YAML", "JSON"])
async def test_a_whole_number_in_each_of_its_forms(
    client: httpx.AsyncClient, form: str, number: str
) -> None:
    body = f'{{"command": ["true"], "retries": {number}}}'
    headers = {"YAML": YAML, "JSON": JSON}[form]
    answer = await client.post(JOBS, content=body.encode(), headers=headers)
    assert answer.status_code == 202, answer.text
    assert JobView.model_validate_json(answer.content).spec.retries.on_failure == 2


async def test_anchors_merges_and_sizes(client: httpx.AsyncClient) -> None:
    body = (
        b"x-base: &base {A: 1, B: 2}\ncommand: [a]\nenv: {<<: *base, B: 3}\n"
        b"resources: {memory: 1gb}\n"
    )
    answer = await client.post(f"{JOBS}/validate", content=body, headers=YAML)
    assert answer.status_code == 200, answer.text
    validation = Validation.model_validate_json(answer.content)
    assert validation.spec.env == {"A": "1", "B": "3"}
    assert validation.notes == (
        "`resources.memory`: `1gb` is read as 1,000,000,000 bytes (953.6Mi)",
    )
    answer = await client.post(JOBS, json=spec(**{"x-note": {"any": ["thing"]}}))
    assert answer.status_code == 202, answer.text
    assert "x-note" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"command: [a]\nsecret_env:\n  TOKEN: *hunter2\n",
        b"command: [a]\nsecret_env:\n  TOKEN: !hunter2 x\n",
    ],
)
async def test_an_error_quotes_no_secret(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(JOBS, content=body, headers=YAML)
    assert "line 3" in check_problem(answer, 400, "malformed_body").detail
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("body", [b'{"name": "\\ud800"}', b'{"name": NaN}', b'{"retries": 1e999}'])
async def test_what_json_has_not(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(JOBS, content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
