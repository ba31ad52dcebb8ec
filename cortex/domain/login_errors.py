"""Errors of logging in. No step of a workflow raises one of them."""

from cortex.domain.errors import CortexError, Forbidden, NotAuthenticated, TooManyRequests


class NotLoggedIn(NotAuthenticated):
    """An access or refresh token, or a one-time link, opens nothing; the detail says why."""

    code = "not_logged_in"
    title = "The login is not valid, or not any more"


class LoginRefused(NotAuthenticated):
    """Never says whether there is such a user."""

    code = "login_refused"
    title = "The name or the password is wrong"

    def __init__(self, detail: str, *, name: str) -> None:
        super().__init__(detail)
        self.name = name


class SecondFactorNeeded(LoginRefused):
    """The password was right, and the code of the second factor is missing or wrong."""

    code = "second_factor_needed"
    title = "A code of the second factor is needed"


class SsoRefused(LoginRefused):
    """Another service was asked who somebody is, and the answer does not let them in."""

    code = "sso_refused"
    title = "The login by another service is refused"


class FormRefused(NotAuthenticated):
    """A page of somebody else, or an old one, has sent a form."""

    code = "form_refused"
    title = "The form is not taken"


class WrongPassword(Forbidden):
    """Somebody who has logged in must give their password once more, and it is another one."""

    code = "wrong_password"
    title = "The password is wrong"


class InvalidCode(Forbidden):
    """The code by which a second factor is confirmed."""

    code = "invalid_code"
    title = "The code is wrong"


class LockedOut(TooManyRequests):
    """Too many failed logins; `retry_after` is in seconds."""

    code = "locked_out"
    title = "Too many failed logins"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class DeviceError(CortexError):
    """What a program hears that waits for its user (RFC 8628, 3.5)."""

    status_code = 400


class AuthorizationPending(DeviceError):
    code = "authorization_pending"
    title = "Nobody has approved the login yet"


class SlowDown(DeviceError):
    code = "slow_down"
    title = "The program asks too often"


class AccessDenied(DeviceError):
    code = "access_denied"
    title = "The login was denied"


class ExpiredToken(DeviceError):
    code = "expired_token"
    title = "The login is over"
