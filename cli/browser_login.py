"""`cortex login --sso`: the command waits while its user logs in with a browser."""

import platform
import time

from cli import render
from cli.errors import BadInput, CliError, ExitCode
from cli.state import State
from cortex.client import ApiError, Cortex
from cortex.client.encoding import quoted
from cortex.client.logins import StoredLogin
from cortex.schemas.sso import DeviceLoginStarted

_SLOWER = 5.0
_OVER = {"access_denied": ExitCode.NOT_ALLOWED, "expired_token": ExitCode.TIMEOUT}
_WAITING = ("authorization_pending", "slow_down")


def log_in_with_browser(state: State, service: str | None) -> str:
    """Log in, and keep it; the user's name.

    Args:
        state: Of the command.
        service: By which to log in; None: whoever logs in chooses.

    Raises:
        BadInput: the server has no such service.
        CliError: it was denied, or nobody came in time.
    """
    with state.client() as cortex:
        if service is not None:
            _check_service(cortex, service)
        started = cortex.start_device_login(f"cortex on {platform.node()[:60]}".strip())
        _show(state, started, service)
        interval, until = started.interval, time.monotonic() + started.expires_in
        while time.monotonic() < until:
            time.sleep(interval)
            try:
                made = cortex.device_session(started.device_code)
            except ApiError as error:
                if error.code in _OVER:
                    raise CliError(
                        error.detail, code=error.code, exit_code=_OVER[error.code]
                    ) from None
                if error.code not in _WAITING:
                    raise
                interval += _SLOWER if error.code == "slow_down" else 0
                continue
            connection = cortex.connection
            kept = StoredLogin.of_session(connection.url, made, connection.profile_name)
            state.logins().keep(kept)
            return kept.user
    raise CliError("nobody has logged in in time", code="timeout", exit_code=ExitCode.TIMEOUT)


def _check_service(cortex: Cortex, name: str) -> None:
    known = [each.name for each in cortex.sso_services()]
    if name not in known:
        names = ", ".join(f"`{each}`" for each in known)
        there = f"there are {names}" if known else "it has none"
        raise BadInput(f"the server has no login service `{name[:60]}`; {there}")


def _show(state: State, started: DeviceLoginStarted, service: str | None) -> None:
    """Where to go and what to compare; on stderr, as all that is no result."""
    address = started.verification_uri_complete
    if service is not None:
        address += f"&service={quoted(service, safe='')}"
    render.say(state, f"open this in any browser:  {address}")
    render.say(state, f"compare the code there:    {started.user_code}")
    render.say(state, f"waiting for {started.expires_in / 60:.0f} minutes …")
