"""Settings that are changed while Cortex runs: shown, changed, taken back."""

from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.conditions import IfMatch, IfNoneMatch, tagged
from api.openapi import UNCHANGED, problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas.runtime_settings import (
    SettingsHistory,
    SettingsRollback,
    SettingsUpdate,
    SettingsView,
)

router = api_router("server")

Before = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="Only versions before this one.")
]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get(
    "/settings",
    dependencies=[needs(Action.SETTINGS_READ)],
    response_model=SettingsView,
    responses={**problems(), **UNCHANGED},
)
async def get_settings(services: Using, if_none_match: IfNoneMatch = None) -> Response:
    """The settings that can be changed while Cortex runs, and where each value is from."""
    view = await services.settings_desk.view()
    return tagged(view, str(view.version), if_none_match)


@router.patch(
    "/settings",
    dependencies=[needs(Action.SETTINGS_CHANGE)],
    response_model=SettingsView,
    responses=problems(412),
)
async def change_settings(
    body: Annotated[SettingsUpdate, Depends(Body(SettingsUpdate, "the change of the settings"))],
    services: Using,
    by: Caller,
    expected: IfMatch,
) -> Response:
    """Set some, take others back with null. Every process follows within a few seconds."""
    view = await services.settings_desk.change(body, by, expected)
    return tagged(view, str(view.version))


@router.get(
    "/settings/history",
    dependencies=[needs(Action.SETTINGS_READ)],
    response_model=SettingsHistory,
    responses=problems(),
)
async def settings_history(services: Using, before: Before = None, limit: Limit = 50) -> Response:
    """What was set from each change on, the newest first."""
    return answer(await services.settings_desk.history(before, limit))


@router.post(
    "/settings/rollback",
    dependencies=[needs(Action.SETTINGS_CHANGE)],
    response_model=SettingsView,
    responses=problems(404, 412),
)
async def roll_back_settings(
    body: Annotated[SettingsRollback, Depends(Body(SettingsRollback, "the roll-back"))],
    services: Using,
    by: Caller,
    expected: IfMatch,
) -> Response:
    """Set again what was set at an earlier version; that makes a new version."""
    view = await services.settings_desk.roll_back(body, by, expected)
    return tagged(view, str(view.version))
