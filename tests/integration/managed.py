"""A stage whose providers the API manages: with keys for secrets and quick checks."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.domain.providers.circuit import CircuitRules
from cortex.domain.providers.health import HealthRules
from cortex.embedded.config import StackConfig
from cortex.schemas.providers import ProviderView
from cortex.settings import ApiSettings, DatabaseSettings, Settings
from tests.api.support import KEY, client_of
from tests.integration.conftest import Stage, stage_on
from tests.support import eventually
from tests.support.databases import fresh_database
from tests.support.fickle import GOOD_KEY, FickleProvider

URL = "/api/v1/providers"
_REST = timedelta(seconds=2)


def managed(stage: Stage, **changes: Any) -> Stage:
    """The stage with keys for secrets, and an API key."""
    update = {
        "encryption_keys": SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"),
        "api": ApiSettings(key=SecretStr(KEY)),
        "health": HealthRules(interval=timedelta(seconds=1)),
        "circuit": CircuitRules(failures=3, open_for=_REST, longest=_REST),
        **changes,
    }
    return replace(stage, settings=stage.settings.model_copy(update=update))


def entries(**providers: dict[str, Any]) -> Any:
    """Providers as settings have them."""
    return Settings.model_validate({"providers": providers}).providers


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """A worker and an API."""
    async with stage.worker(), client_of(stage.settings) as client:
        yield client


async def add(api: httpx.AsyncClient, provider_id: str = "f1", **config: Any) -> ProviderView:
    """A provider of the type `fickle`."""
    body = {"id": provider_id, "type": "fickle", "config": {"api_key": GOOD_KEY, **config}}
    answer = await api.post(URL, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{URL}/{provider_id}"
    return ProviderView.model_validate_json(answer.content)


async def view(api: httpx.AsyncClient, provider_id: str = "f1") -> ProviderView:
    answer = await api.get(f"{URL}/{provider_id}")
    assert answer.status_code == 200, answer.text
    return ProviderView.model_validate_json(answer.content)


async def becomes(
    api: httpx.AsyncClient, status: str, provider_id: str = "f1", within: float = 20
) -> ProviderView:
    """The provider once it has this status."""

    async def check() -> bool:
        return (await view(api, provider_id)).status == status

    await eventually(check, within=within, what=f"{provider_id} {status}")
    return await view(api, provider_id)


async def events_of(stage: Stage, subject: str) -> list[tuple[str, dict[str, Any]]]:
    """Type and data of all events about a provider, since it was added last."""
    async with stage.database.transaction() as tx:
        events = await tx.events.page(None, limit=5000)
    history = [(event.type.value, event.data) for event in events if event.subject == subject]
    made = [index for index, (kind, _) in enumerate(history) if kind == "provider.created"]
    return history[made[-1] :] if made else history


async def remove_all(api: httpx.AsyncClient) -> None:
    """Remove what tests added, so that the next one begins anew."""
    for provider in (await api.get(URL)).json():
        if provider["source"] == "api":
            answer = await api.delete(f"{URL}/{provider['id']}")
            assert answer.status_code == 204, answer.text


@pytest.fixture(scope="module")
async def shared_stage(
    postgres: StackConfig,
    temporal: Client,
    tmp_path_factory: pytest.TempPathFactory,
    fickle_installed: None,
) -> AsyncIterator[Stage]:
    """One stage for all tests of a module."""
    async with fresh_database(postgres) as url:
        database = Database(DatabaseSettings(url=SecretStr(url)))
        folder = tmp_path_factory.mktemp("stage")
        made = await stage_on(url, database, temporal, folder, null={"type": "null"})
        yield managed(made)
        await database.aclose()


@pytest.fixture(scope="module")
async def shared_api(shared_stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """The API of a running worker, for all tests of a module."""
    async with running(shared_stage) as client:
        yield client


@pytest.fixture
async def api(
    shared_api: httpx.AsyncClient, fickle: type[FickleProvider]
) -> AsyncIterator[httpx.AsyncClient]:
    """The API, with the type `fickle` there; what the test adds is removed."""
    yield shared_api
    await remove_all(shared_api)
