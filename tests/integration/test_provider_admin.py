"""Providers over the API, with a real worker that checks, opens, replaces and drops them."""

import httpx
import pytest

from cortex.domain.states import JobState
from cortex.schemas.providers import ProviderView
from tests.api.support import check_problem
from tests.integration.conftest import Stage, StageMaker
from tests.integration.managed import (
    URL,
    add,
    api,
    becomes,
    entries,
    events_of,
    managed,
    running,
    shared_api,
    shared_stage,
    view,
)
from tests.support import eventually
from tests.support.fickle import GOOD_KEY, FickleProvider, fickle, fickle_installed

__all__ = ["api", "fickle", "fickle_installed", "shared_api", "shared_stage"]
pytestmark = pytest.mark.integration
SECRET = "s3cret-registry-pw"


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


class TestAdding:
    async def test_is_usable_at_once_and_runs_a_job(
        self, stage: Stage, api: httpx.AsyncClient
    ) -> None:
        made = await add(api, region="us")
        assert (made.source, made.enabled, made.configured) == ("api", True, True)
        assert made.config == {"region": "us"}
        assert made.secrets == ("api_key",)
        seen = await becomes(api, "online")
        assert seen.capabilities is not None
        assert seen.prices is not None
        assert str(seen.balance) == "7.5 USD"
        job_id = await stage.submit(command=["true"], placement={"providers": ["f1"]})
        job = await stage.ended(job_id)
        assert (job.state, job.provider_id) == (JobState.COMPLETED, "f1")
        listed = (await api.get(f"{URL}/f1/jobs")).json()["items"]
        assert [job["id"] for job in listed] == [job_id]
        assert [kind for kind, _ in await events_of(stage, "f1")][:2] == [
            "provider.created",
            "provider.status.changed",
        ]

    async def test_two_accounts_of_one_network_side_by_side(
        self, api: httpx.AsyncClient, fickle: type[FickleProvider]
    ) -> None:
        await add(api, "f1", account="one", api_key="key-of-one")
        await add(api, "f2", account="two", api_key="key-of-two")
        await becomes(api, "online", "f1")
        await becomes(api, "online", "f2")
        assert set(fickle.switches["one"].keys) == {"key-of-one"}
        assert set(fickle.switches["two"].keys) == {"key-of-two"}

    async def test_each_wrong_field_is_named_and_no_secret_repeated(
        self, api: httpx.AsyncClient
    ) -> None:
        config = {"api_key": "sho-t", "region": "Europe", "colour": "red"}
        answer = await api.post(URL, json={"id": "f1", "type": "fickle", "config": config})
        problem = check_problem(answer, 422, "invalid_request")
        assert {error.field for error in problem.errors} == {
            "config.api_key",
            "config.region",
            "config.colour",
        }
        assert "sho-t" not in answer.text
        assert (await api.get(f"{URL}/f1")).status_code == 404
        answer = await api.post(URL, json={"id": "f1", "type": "fickle"})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["config.api_key"]
        assert "is required" in problem.detail
        answer = await api.post(URL, json={"id": "f1", "type": "nowhere"})
        problem = check_problem(answer, 422, "invalid_request")
        assert [error.field for error in problem.errors] == ["type"]
        assert "installed are" in problem.detail

    async def test_an_id_that_is_taken(self, api: httpx.AsyncClient) -> None:
        await add(api)
        again = await api.post(
            URL, json={"id": "f1", "type": "fickle", "config": {"api_key": GOOD_KEY}}
        )
        assert "already" in check_problem(again, 409, "conflict").detail
        taken = await api.post(URL, json={"id": "null", "type": "null"})
        assert "in the settings of the workers" in check_problem(taken, 409, "conflict").detail

    async def test_types_are_listed_with_their_fields(self, api: httpx.AsyncClient) -> None:
        types = {row["name"]: row for row in (await api.get("/api/v1/provider-types")).json()}
        assert {"fickle", "local", "docker", "null"} <= set(types)
        kind = types["fickle"]
        assert kind["secret_fields"] == ["api_key", "registries.*.password"]
        assert "region" in kind["config_schema"]["properties"]
        assert "enabled" not in kind["config_schema"]["properties"]
        assert types["docker"]["secret_fields"] == ["registries.*.password"]


class TestChanging:
    async def test_secrets_stay_unless_they_are_changed(
        self, api: httpx.AsyncClient, fickle: type[FickleProvider]
    ) -> None:
        registry = {"server": "r.test", "password": SECRET}
        await add(api, registries=[registry])
        await becomes(api, "online")
        answer = await api.patch(f"{URL}/f1", json={"config": {"region": "us"}})
        changed = ProviderView.model_validate_json(answer.content)
        assert changed.config["region"] == "us"
        assert changed.secrets == ("api_key", "registries.0.password")
        switch = fickle.switches["main"]

        async def rebuilt() -> bool:
            return switch.opened >= 2 and switch.closed >= 1

        await eventually(rebuilt, what="the new instance, and the end of the old one")
        assert set(switch.keys) == {GOOD_KEY}
        await api.patch(f"{URL}/f1", json={"config": {"api_key": "rotated-key"}})

        async def rotated() -> bool:
            return switch.keys[-1] == "rotated-key"

        await eventually(rotated, what="the new key in use")
        assert (await becomes(api, "online")).version == 3

    async def test_a_change_that_makes_it_invalid_changes_nothing(
        self, api: httpx.AsyncClient
    ) -> None:
        await add(api, region="us")
        answer = await api.patch(f"{URL}/f1", json={"config": {"region": "x"}})
        check_problem(answer, 422, "invalid_request")
        answer = await api.patch(f"{URL}/f1", json={"config": {"api_key": None}})
        check_problem(answer, 422, "invalid_request")
        assert (await view(api)).config == {"region": "us"}
        answer = await api.patch(f"{URL}/f1", json={"config": {"region": None}})
        assert answer.json()["config"] == {}

    async def test_each_change_is_in_the_audit_log_and_an_event(
        self, stage: Stage, api: httpx.AsyncClient
    ) -> None:
        await add(api)
        await api.patch(f"{URL}/f1", json={"config": {"api_key": "another-key"}})
        await api.post(f"{URL}/f1/disable")
        await api.post(f"{URL}/f1/disable")  # harmless, and no second event
        await api.post(f"{URL}/f1/enable")
        assert (await api.delete(f"{URL}/f1")).status_code == 204
        wanted = ["created", "updated", "disabled", "enabled", "deleted"]
        kinds = [kind for kind, _ in await events_of(stage, "f1")]
        assert [k for k in kinds if k.count(".") == 1] == [f"provider.{name}" for name in wanted]
        async with stage.database.transaction() as tx:
            rows = (
                await tx.connection.exec_driver_sql(
                    "SELECT * FROM (SELECT * FROM audit_log ORDER BY id DESC LIMIT 5) a ORDER BY id"
                )
            ).all()
        assert [row.action for row in rows] == [
            "provider.create",
            "provider.update",
            "provider.disable",
            "provider.enable",
            "provider.delete",
        ]
        assert {(row.actor, row.source) for row in rows} == {("local", "127.0.0.1")}
        assert rows[0].data["before"] == {}
        assert rows[0].data["after"]["config.api_key"] == "**********"
        assert rows[1].data == {
            "fields": ["api_key"],
            "before": {},
            "after": {"config.api_key": "**********"},
        }
        assert "another-key" not in str(rows)


class TestTesting:
    async def test_stores_nothing(
        self, api: httpx.AsyncClient, fickle: type[FickleProvider]
    ) -> None:
        await add(api)
        report = (await api.post(f"{URL}/f1/test")).json()
        assert report["ok"] is True
        assert report["network_version"] == "1.2"
        assert report["balance"] == {"amount": "7.5", "currency": "USD"}
        assert report["prices"]["cpu_hour"] == "0.02"
        body = {"config": {"api_key": "wrong-key-0815"}}
        answer = await api.post(f"{URL}/f1/test", json=body)
        assert answer.json()["ok"] is False
        assert answer.json()["message"].startswith("the network refuses the credentials")
        assert "wrong-key-0815" not in answer.text
        assert (await api.post(f"{URL}/f1/test")).json()["ok"] is True
        fickle.switches["main"].down = "maintenance until noon"
        report = (await api.post(f"{URL}/f1/test")).json()
        assert (report["ok"], report["message"]) == (False, "maintenance until noon")

    async def test_of_one_that_is_not_stored(self, api: httpx.AsyncClient) -> None:
        body = {"type": "fickle", "config": {"api_key": GOOD_KEY}}
        assert (await api.post(f"{URL}/new/test", json=body)).json()["ok"] is True
        assert (await api.get(f"{URL}/new")).status_code == 404
        check_problem(await api.post(f"{URL}/new/test"), 404, "not_found")
        assert (await api.post(f"{URL}/null/test")).json()["ok"] is True


class TestLeases:
    async def test_a_provider_that_holds_one_cannot_be_removed(
        self, stage: Stage, api: httpx.AsyncClient
    ) -> None:
        await add(api, run_seconds=-1)
        await becomes(api, "online")
        job_id = await stage.submit(command=["x"], placement={"providers": ["f1"]})

        async def runs() -> bool:
            return (await stage.job(job_id)).state is JobState.RUNNING

        await eventually(runs, what="the job's start")
        problem = check_problem(await api.delete(f"{URL}/f1"), 409, "conflict")
        assert f"{job_id}-1" in problem.detail
        assert "disable" in problem.detail
        # Switched off it takes nothing new, and what runs is still watched and released.
        assert (await api.post(f"{URL}/f1/disable")).json()["enabled"] is False
        refused = await api.post(
            "/api/v1/jobs", json={"command": ["x"], "placement": {"providers": ["f1"]}}
        )
        assert "switched off" in check_problem(refused, 422, "no_provider").detail
        answer = await api.post(f"/api/v1/jobs/{job_id}/cancel")
        assert answer.status_code == 202
        assert (await stage.ended(job_id)).state is JobState.CANCELLED
        assert (await api.delete(f"{URL}/f1")).status_code == 204
        assert (await api.get(f"{URL}/f1")).status_code == 404

    async def test_one_that_went_from_the_settings_is_shown_and_taken_over(
        self, make_stage: StageMaker, fickle: type[FickleProvider]
    ) -> None:
        stage = managed(await make_stage(null={"type": "null"}))
        entry = {"type": "fickle", "run_seconds": -1, "api_key": GOOD_KEY}
        has = managed(stage, providers=entries(f1=entry, null={"type": "null"}))
        async with has.worker():
            job_id = await has.submit(command=["x"], placement={"providers": ["f1"]})

            async def runs() -> bool:
                return (await has.job(job_id)).state is JobState.RUNNING

            await eventually(runs, what="the job's start")
        async with running(stage) as api:
            gone = await view(api)
            assert (gone.configured, gone.status, gone.active_leases) == (False, "offline", 1)
            assert "no longer in the settings" in gone.message
            told = [d for kind, d in await events_of(stage, "f1") if kind == "provider.updated"]
            assert told[0]["leases"] == [f"{job_id}-1"]
            check_problem(await api.delete(f"{URL}/f1"), 409, "conflict")
            config = {"run_seconds": -1, "api_key": GOOD_KEY}
            answer = await api.post(URL, json={"id": "f1", "type": "fickle", "config": config})
            assert answer.status_code == 201, answer.text
            await api.post(f"/api/v1/jobs/{job_id}/cancel")
            assert (await stage.ended(job_id)).state is JobState.CANCELLED
