"""The API of this machine, and what it counts with."""

from typing import Final

import httpx

from cortex.doctor.findings import Finding, fault, fine, first_line, warning
from cortex.settings import Settings

_CALL: Final = 5.0
# What a server may listen on is nothing that a client can ask for.
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def check_api(settings: Settings, start: str | None = None) -> Finding:
    """Whether one runs where the settings say. Never raises. `start`: a command that starts it."""
    host = _ANY.get(settings.api.host, settings.api.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.api.port}"
    try:
        async with httpx.AsyncClient(timeout=_CALL, trust_env=False) as http:
            answer = await http.get(f"{url}/health/ready")
    except httpx.ConnectError as error:
        detail = f"none answers at {url}: {first_line(error)}"
        fix = f"start one, unless it runs elsewhere: `{start or 'cortex api'}`"
        return warning("api", detail, fix)
    except httpx.TimeoutException:
        detail = f"{url} takes connections and does not answer within {_CALL:.0f} s"
        return fault("api", detail, "look at its load and log, or start it anew")
    except httpx.HTTPError as error:
        detail = f"something else answers at {url}: {first_line(error)}"
        return fault("api", detail, "stop it, or choose another `api.port`")
    if answer.status_code == httpx.codes.OK:
        return fine("api", f"ready at {url}")
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return fault("api", f"{url} is not ready", "mend what is told above; else read its log")
    detail = f"something else answers at {url}: HTTP {answer.status_code}"
    return fault("api", detail, "stop it, or choose another `api.port`")


async def check_redis(settings: Settings) -> list[Finding]:
    """A finding if one is configured. Never raises."""
    if settings.api.redis_url is None:
        return []
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    fix = (
        "start it, or correct the setting `api.redis_url`; until then each process counts by itself"
    )
    try:
        client = Redis.from_url(
            settings.api.redis_url.get_secret_value(),
            socket_timeout=_CALL,
            socket_connect_timeout=_CALL,
        )
    except ValueError:  # whose text may have the password in it
        return [warning("redis", "its URL is malformed", fix)]
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return [warning("redis", f"it does not answer: {first_line(error)}", fix)]
    finally:
        await client.aclose()
    return [fine("redis", "it answers")]
