"""Errors of logging in. No step of a workflow raises one of them."""

from cortex.domain.errors import Forbidden, NotAuthenticated, TooManyRequests


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
