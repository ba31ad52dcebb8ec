"""`cortex webhooks` against a real API, with a worker's half that sends."""

import json

from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import serve
from tests.cli.commands.test_trace import call
from tests.support import eventually
from tests.webhooks.support import QUICK, happen, hosting, new_job, receiving

__all__ = ["providers", "settings"]


async def test_a_webhook_from_its_begin_to_its_end(
    settings: Settings, database: Database, providers: None
) -> None:
    settings = settings.model_copy(update={"webhooks": QUICK})
    async with (
        serve(settings) as (url, _),
        receiving() as receiver,
        hosting(database, settings),
    ):
        assert "there is no webhook" in (await call(url, "webhooks", "list")).output
        shown = await call(url, "webhooks", "create", "https://10.0.0.1/", "--event", "job.*")
        assert (shown.exit_code, "not public" in shown.output) == (2, True)
        shown = await call(url, "webhooks", "create", receiver.url, "--header", "no-value")
        assert (shown.exit_code, "write `NAME=VALUE`" in shown.output) == (2, True)
        options = ("--event", "job.*", "--label", "team=red", "--header", "x-key=s3cr3t=")
        shown = await call(url, "webhooks", "create", receiver.url, *options)
        assert "its secret is shown only now" in shown.output
        secret = shown.output.splitlines()[-1]
        (listed,) = json.loads((await call(url, "--json", "webhooks", "list")).output.join("[]"))
        webhook_id = listed["id"]
        assert (listed["events"], listed["headers"]) == (["job.*"], ["x-key"])
        assert "s3cr3t" not in str(listed)
        shown = await call(url, "webhooks", "show", webhook_id)
        assert "team=red" in shown.output

        shown = await call(url, "webhooks", "ping", webhook_id)
        assert (shown.exit_code, "it was taken: 204" in shown.output) == (0, True)
        receiver.tried[0].verified(secret)
        assert receiver.tried[0].headers["x-key"] == "s3cr3t="
        receiver.status, receiver.text = (lambda got: 500), "we are closed"
        shown = await call(url, "webhooks", "ping", webhook_id)
        assert (shown.exit_code, "it answered 500" in shown.output) == (1, True)
        assert "we are closed" in shown.output
        receiver.status = lambda got: 204

        assert (await call(url, "webhooks", "update", webhook_id)).exit_code == 2
        change = ("--all-jobs", "--drop-header", "x-key", "--off")
        shown = await call(url, "webhooks", "update", webhook_id, *change)
        assert "it is disabled" in shown.output
        await call(url, "webhooks", "update", webhook_id, "--on")
        shown = await call(url, "webhooks", "rotate", webhook_id, "--overlap", "1h")
        assert "signs as well until" in shown.output
        await happen(database, await new_job(database), 1)
        event = await _sent(url, webhook_id)
        assert "x-key" not in receiver.tried[-1].headers
        for each in (secret, shown.output.splitlines()[-1]):
            receiver.tried[-1].verified(each)

        assert (await call(url, "webhooks", "redeliver", webhook_id)).exit_code == 2
        shown = await call(url, "webhooks", "redeliver", webhook_id, "--dead")
        assert "0 are sent again" in shown.output
        shown = await call(url, "webhooks", "redeliver", webhook_id, event)
        assert "1 is sent again" in shown.output
        shown = await call(url, "webhooks", "deliveries", webhook_id, "--state", "dead")
        assert "webhook.ping" in shown.output
        assert (await call(url, "webhooks", "delete", webhook_id)).exit_code == 0
        assert (await call(url, "webhooks", "show", webhook_id)).exit_code == 4


async def test_a_webhook_of_a_project(settings: Settings, providers: None) -> None:
    settings = settings.model_copy(update={"webhooks": QUICK})
    leads = ("create", "https://hooks.example.com/x")
    async with serve(settings) as (url, _):
        await call(url, "projects", "create", "vision")
        assert (await call(url, "webhooks", *leads, "--of-project", "nothing")).exit_code == 4
        own = json.loads((await call(url, "--json", "webhooks", *leads)).output)["info"]["id"]
        shown = await call(url, "webhooks", *leads, "--of-project", "vision")
        assert "its secret is shown only now" in shown.output
        listed = (await call(url, "webhooks", "list", "--of-project", "vision")).output
        assert "local in vision" in listed
        assert own not in listed
        assert own in (await call(url, "webhooks", "list")).output


async def _sent(url: str, webhook_id: str) -> str:
    """Wait until the event was sent; the id of its delivery."""
    ids: list[str] = []

    async def delivered() -> bool:
        shown = await call(url, "--json", "webhooks", "deliveries", webhook_id)
        each = [json.loads(line) for line in shown.output.splitlines()]
        ids[:] = [one["id"] for one in each if one["event_id"] and one["state"] == "delivered"]
        return bool(ids)

    await eventually(delivered, what="the event")
    return ids[0]
