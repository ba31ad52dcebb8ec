"""About the server itself: schema of job specs, version, health."""

from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter
from starlette.responses import Response

from api.access import Caller, needs
from api.openapi import problems
from api.respond import answer
from api.routing import Route, api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.domain.schema import job_spec_schema
from cortex.schemas.server import Health, Info

router = api_router("server")
health = APIRouter(prefix="/health", tags=["server"], route_class=Route)


@router.get("/schemas/job-spec", dependencies=[needs(Action.SERVER_READ)], responses=problems())
async def job_spec() -> Response:
    """The JSON Schema of job specs, for editors."""
    return answer(job_spec_schema())


@router.get(
    "/info",
    dependencies=[needs(Action.SERVER_READ)],
    response_model=Info,
    responses=problems(),
)
async def info(services: Using, by: Caller) -> Response:
    """Version, where to look further, and who you are to this server."""
    return answer(
        Info(
            version=cortex_version(),
            temporal_ui=services.settings.temporal.ui_url,
            docs="/docs",
            user=by.name,
            role=by.role,
            project=by.only,
        )
    )


@health.get("/live", response_model=Health)
async def live() -> Response:
    """Whether the process answers at all."""
    return answer(Health(status="ok"))


@health.get("/ready", response_model=Health, responses={503: {"model": Health}})
async def ready(services: Using) -> Response:
    """Whether database, Temporal and workers are there; 503 names what is not."""
    state = await services.probe.health()
    return answer(state, status=200 if state.status == "ok" else 503)


def cortex_version() -> str:
    """The installed version."""
    try:
        return version("cortex-orchestrator")
    except PackageNotFoundError:
        return "0.0.0"
