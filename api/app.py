"""The ASGI application."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Route, WebSocketRoute, compile_path

from api.admission import AdmissionMiddleware, BodyMiddleware, LiveStreams
from api.docs_page import add_docs
from api.drop import DropMiddleware
from api.graphql.http import serve_graphql
from api.graphql.socket import follow_graphql
from api.headers import HeadersMiddleware, allow_origins
from api.limits import add_guess_limit, add_principal_limit, counters_of
from api.middleware import (
    GRAPHQL,
    AuthMiddleware,
    ContextMiddleware,
    is_loopback,
)
from api.openapi import document
from api.patience import PatienceMiddleware
from api.problems import on_http_error, on_invalid_request
from api.routes import (
    audit,
    auth,
    billing,
    budgets,
    bulk,
    device,
    filters,
    groups,
    jobs,
    keys,
    live,
    meta,
    metrics,
    notices,
    outputs,
    passkeys,
    plugins,
    projects,
    providers,
    reconcile,
    schedules,
    second_factors,
    secrets,
    settings,
    sso,
    streams,
    submission,
    templates,
    temporal,
    trace,
    users,
    webhooks,
)
from api.routing import mount
from api.services import open_services
from cortex.domain.errors import CortexError
from cortex.settings import Settings

# `/jobs/validate` and its like come before `/jobs/{job_id}`.
ROUTERS = tuple(
    module.router
    for module in (
        submission,
        bulk,
        filters,
        jobs,
        groups,
        trace,
        streams,
        live,
        outputs,
        metrics,
        billing,
        budgets,
        providers,
        plugins,
        projects,
        reconcile,
        auth,
        second_factors,
        passkeys,
        sso,
        device,
        users,
        notices,
        keys,
        secrets,
        templates,
        schedules,
        settings,
        webhooks,
        temporal,
        audit,
        meta,
    )
) + (meta.health,)
_log = structlog.get_logger(__name__)


class Unprotected(CortexError):
    """The server would be open to everyone on the network."""

    code = "no_api_key"
    title = "No API key is configured"


def create_app(settings: Settings) -> FastAPI:
    """The API. Its services run between start and end of its lifespan.

    Raises:
        Unprotected: it would listen beyond this machine without an API key.
    """
    _check_key(settings)
    counters = counters_of(settings.api)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            try:
                yield
            finally:
                await counters.aclose()

    app = FastAPI(
        title="Cortex",
        version=meta.cortex_version(),
        description="Durable jobs on decentralised compute networks and your own machine.",
        lifespan=lifespan,
        exception_handlers={
            HTTPException: on_http_error,
            RequestValidationError: on_invalid_request,
        },
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    mount(app, ROUTERS)
    app.router.routes += [
        Route(GRAPHQL, serve_graphql, methods=["GET", "POST"]),
        WebSocketRoute(GRAPHQL, follow_graphql),
    ]
    app.state.paths = _paths()
    app.state.live_streams = LiveStreams(settings.api)
    app.state.live_sessions = set()
    document(app)
    add_docs(app)
    # The last one added is the outermost.
    app.add_middleware(PatienceMiddleware)
    app.add_middleware(AdmissionMiddleware, settings=settings.api)
    app.add_middleware(BodyMiddleware, settings=settings.api)
    add_principal_limit(app, counters, settings.api)
    app.add_middleware(AuthMiddleware, settings=settings.api)
    add_guess_limit(app, counters, settings.api)
    app.add_middleware(ContextMiddleware)
    allow_origins(app, settings.api)
    _add_drop_box(app, settings)
    app.add_middleware(HeadersMiddleware, settings=settings.api)
    return app


def _paths() -> list[tuple[str, re.Pattern[str], frozenset[str]]]:
    """Every path with what it takes: the router itself tells of one route only (`Allow`)."""
    return [
        (route.path, compile_path(route.path)[0], frozenset(route.methods or ()))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
    ]


def _add_drop_box(app: FastAPI, settings: Settings) -> None:
    if settings.drop.secret is None:
        return

    async def arrived(key: str, _name: str) -> None:
        async with app.state.services.database.transaction() as tx:
            await tx.leases.wake_monitor(key)

    app.add_middleware(
        DropMiddleware,
        folder=settings.data_dir / "drop",
        secret=settings.drop.secret.get_secret_value().encode(),
        limit=settings.drop.max_bytes,
        arrived=arrived,
        keep_free=settings.disk.keep_free,
    )


def _check_key(settings: Settings) -> None:
    if settings.api.all_keys():
        return
    if not is_loopback(settings.api.host):
        raise Unprotected(
            f"refusing to listen on `{settings.api.host}` without an API key: set CORTEX_API__KEY, "
            "or listen on 127.0.0.1 (CORTEX_API__HOST)"
        )
    _log.warning("api.no_key", detail="any program on this machine may use the API")
