"""Groups for the tests of their routes."""

from typing import Any

import httpx
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.schemas.groups import GroupView

GROUPS = "/api/v1/groups"


def job(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": ["true"], **fields}


def group(**fields: Any) -> dict[str, Any]:
    jobs = [job("prep", outputs=["data"]), job("train", count=2, after="prep")]
    return {"name": "g", "jobs": jobs, **fields}


async def submit(client: httpx.AsyncClient, spec: dict[str, Any] | None = None) -> GroupView:
    answer = await client.post(GROUPS, json=spec or group())
    assert answer.status_code == 202, answer.text
    view = GroupView.model_validate_json(answer.content)
    assert answer.headers["location"] == f"{GROUPS}/{view.id}"
    return view


async def rows(database: Database, statement: str) -> list[Any]:
    async with database.transaction() as tx:
        return list((await tx.connection.execute(text(statement))).all())
