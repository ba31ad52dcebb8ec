"""Logging in with a password: sessions and their tokens."""

from typing import Annotated, Final

from fastapi import Depends, Header, Path, Query
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.schemas.auth import (
    JwkSet,
    LoggedIn,
    LoginRequest,
    PasswordChange,
    Redemption,
    RefreshRequest,
    SessionPage,
)

router = api_router("auth")

NO_STORE: Final = {"cache-control": "no-store"}
_KEYS_KEPT: Final = {"cache-control": "public, max-age=60"}

UserAgent = Annotated[str, Header(include_in_schema=False)]


@router.post("/auth/login", response_model=LoggedIn, responses=problems(429))
async def login(
    body: Annotated[LoginRequest, Depends(Body(LoginRequest, "the login"))],
    services: Using,
    by: Caller,
    user_agent: UserAgent = "",
) -> Response:
    """Open a session: a short access token, and a refresh token for the next ones.

    An unknown name and a wrong password are answered alike. After several failures one has to
    wait (`429` with `Retry-After`).
    """
    return answer(await services.logins.login(body, by, user_agent), headers=NO_STORE)


@router.post("/auth/refresh", response_model=LoggedIn, responses=problems())
async def refresh(
    body: Annotated[RefreshRequest, Depends(Body(RefreshRequest, "the refresh token"))],
    services: Using,
    by: Caller,
) -> Response:
    """The next tokens of a session.

    A refresh token is good for once. Sent again within seconds it is answered with the same next
    one; sent again later, it ends the session: somebody has stolen it.
    """
    return answer(await services.sessions.refresh(body.refresh_token, by), headers=NO_STORE)


@router.get("/auth/jwks", response_model=JwkSet, responses=problems())
async def jwks(services: Using) -> Response:
    """The public keys that access tokens are signed with, those that were replaced lately too."""
    keys = await services.tokens.published()
    return answer({"keys": keys}, headers=_KEYS_KEPT)


@router.post("/auth/redeem", status_code=204, responses=problems())
async def redeem(
    body: Annotated[Redemption, Depends(Body(Redemption, "the invitation"))],
    services: Using,
    by: Caller,
) -> Response:
    """Set a password with the token of an invitation or a reset, once. Then log in."""
    await services.invitations.redeem(body, by)
    services.authenticator.forget()
    return Response(status_code=204)


@router.post(
    "/auth/logout",
    dependencies=[needs(Action.SESSIONS_CHANGE)],
    status_code=204,
    responses=problems(409),
)
async def logout(services: Using, by: Caller) -> Response:
    """End the session that asks."""
    await services.sessions.log_out(by)
    services.authenticator.forget()
    return Response(status_code=204)


@router.get(
    "/auth/sessions",
    dependencies=[needs(Action.SESSIONS_CHANGE)],
    response_model=SessionPage,
    responses=problems(),
)
async def list_sessions(
    services: Using,
    by: Caller,
    user: Annotated[str | None, Query(description="Only of this user.")] = None,
) -> Response:
    """One's own open sessions, for admins everybody's; the newest first."""
    return answer(await services.sessions.all(user, by))


@router.delete(
    "/auth/sessions/{session_id}",
    dependencies=[needs(Action.SESSIONS_CHANGE)],
    status_code=204,
    responses=problems(404),
)
async def end_session(
    session_id: Annotated[str, Path(description="Id of a session.")], services: Using, by: Caller
) -> Response:
    """End a session: its tokens open nothing from the next request on. Harmless to repeat."""
    await services.sessions.end(session_id, by)
    services.authenticator.forget()
    return Response(status_code=204)


@router.post(
    "/auth/password",
    dependencies=[needs(Action.ACCOUNT_CHANGE)],
    status_code=204,
    responses=problems(409, 429),
)
async def change_password(
    body: Annotated[PasswordChange, Depends(Body(PasswordChange, "the change of the password"))],
    services: Using,
    by: Caller,
) -> Response:
    """Change one's own password: all other sessions end. API keys stay."""
    await services.logins.change_password(body, by)
    services.authenticator.forget()
    return Response(status_code=204)
