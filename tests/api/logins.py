"""People who log in, for the tests of several routes."""

from typing import Any

import httpx

from cortex.db.engine import Database
from cortex.domain.passwords import PasswordRules
from cortex.schemas.auth import LoggedIn
from cortex.security import argon2id
from tests.api.support import CHEAP_PASSWORDS

AUTH = "/api/v1/auth"
PASSWORD = "violet harbour 17 lanterns"
OTHER = "quiet marble 42 windmills"


async def person(
    client: httpx.AsyncClient,
    database: Database,
    name: str = "ann",
    role: str = "developer",
    *,
    password: str = PASSWORD,
    rules: PasswordRules = CHEAP_PASSWORDS,
) -> None:
    """Add a user with a password."""
    answer = await client.post("/api/v1/users", json={"name": name, "role": role})
    assert answer.status_code == 201, answer.text
    async with database.statement() as tx:
        user_id = answer.json()["id"]
        await tx.accounts.set_password(user_id, argon2id.hashed(password, rules))


async def try_login(
    client: httpx.AsyncClient, name: str = "ann", password: str = PASSWORD, **values: Any
) -> httpx.Response:
    body = {"name": name, "password": password, **values}
    # Whatever key the client has is no matter here.
    return await client.post(f"{AUTH}/login", json=body)


async def log_in(
    client: httpx.AsyncClient, name: str = "ann", password: str = PASSWORD, **values: Any
) -> LoggedIn:
    answer = await try_login(client, name, password, **values)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return LoggedIn.model_validate_json(answer.content)


def bearing(login: LoggedIn) -> dict[str, str]:
    return {"authorization": f"Bearer {login.access_token}"}
