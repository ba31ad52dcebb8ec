"""The routes of the API about the server itself."""

from typing import Any, Literal

import orjson

from cortex.client._routes.call import V1, Call, get
from cortex.schemas.server import Health, Info


def job_schema() -> Call[dict[str, Any]]:
    return Call("GET", f"{V1}/schemas/job-spec", orjson.loads)


def info() -> Call[Info]:
    return get("/info", Info)


def health(kind: Literal["live", "ready"]) -> Call[Health]:
    # 503 is an answer here: it says what is away.
    parse = Health.model_validate_json
    return Call("GET", f"/health/{kind}", parse, good=frozenset({503}))
