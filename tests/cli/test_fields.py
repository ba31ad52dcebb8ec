"""`--fields`, against a real API."""

import json

import httpx
import pytest

from cli.errors import BadInput
from cli.fields import names_of
from cortex.settings import Settings
from tests.api.conftest import client, providers, settings
from tests.api.groups import GROUPS, group
from tests.api.support import AUTH, serve, submit
from tests.cli.commands.test_trace import call

__all__ = ["client", "providers", "settings"]


def test_each_name_counts_once_and_an_unknown_one_is_told() -> None:
    assert names_of("id, name,id", ("id", "name")) == ("id", "name")
    with pytest.raises(BadInput, match="no field `nmae`; there are id, name"):
        names_of("id,nmae", ("id", "name"))


async def test_lists_with_some_fields(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        async with httpx.AsyncClient(base_url=url, headers=AUTH, timeout=30) as http:
            jobs = [await submit(http, name=f"n{number}") for number in range(3)]
            group_id = (await http.post(GROUPS, json=group())).json()["id"]
        shown = await call(url, "--json", "jobs", "--fields", "name,id", "--name", "n1")
        assert [json.loads(line) for line in shown.stdout.splitlines() if line[:1] == "{"] == [
            {"name": "n1", "id": jobs[1]}
        ]
        shown = await call(url, "jobs", "--fields", "name,provider_id,labels", "-n", "500")
        lines = [line.split() for line in shown.stdout.splitlines()]
        assert ["NAME", "PROVIDER_ID", "LABELS"] in lines
        assert ["n2", "-", "{}"] in lines
        shown = await call(url, "group", "list", "--fields", "id,state")
        assert [group_id, "pending"] in [line.split() for line in shown.stdout.splitlines()]
        refused = await call(url, "jobs", "--fields", "nothing")
        assert (refused.exit_code, "no field `nothing`" in refused.output) == (2, True)
        assert (await call(url, "jobs", "--fields", "id", "--watch")).exit_code == 2
