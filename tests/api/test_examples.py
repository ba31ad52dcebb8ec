"""The examples of the document are taken as they stand."""

from typing import Any

import httpx
import pytest

from api.app import create_app
from api.examples import EXAMPLES
from cortex.settings import Settings

ROUTES = {
    "JobSpec": "/api/v1/jobs",
    "GroupSpec": "/api/v1/groups",
    "BudgetCreate": "/api/v1/budgets",
}


@pytest.mark.parametrize(
    ("model", "value"),
    [
        pytest.param(model, example["value"], id=f"{model}: {name}")
        for model, examples in EXAMPLES.items()
        for name, example in examples.items()
    ],
)
async def test_each_is_taken(client: httpx.AsyncClient, model: str, value: Any) -> None:
    answer = await client.post(ROUTES[model], json=value)
    assert answer.status_code in (201, 202), answer.text


def test_the_document_has_them(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    for model, path in ROUTES.items():
        content = paths[path]["post"]["requestBody"]["content"]
        for kind in ("application/json", "application/yaml"):
            assert content[kind]["examples"] == EXAMPLES[model]
