"""The part of the blocking client that is about logging in."""
# Made from _async/auth.py by `make format`; change that one.

from collections.abc import Mapping
from typing import Any

from cortex.client._routes import auth as routes
from cortex.client.transport import Transport
from cortex.domain.passkeys import Passkey
from cortex.domain.second_factor import SecondFactorState
from cortex.domain.sessions import Session
from cortex.schemas.auth import Enrolment, Invitation, LoggedIn
from cortex.schemas.passkeys import PasskeyAdded, PasskeyOptions
from cortex.schemas.sso import DeviceLoginStarted, SsoProviderView


class AuthCalls:
    """What `Cortex` can do with passwords and sessions."""

    _transport: Transport

    def login(self, name: str, password: str, *, code: str | None = None) -> LoggedIn:
        """Open a session.

        The access token of the answer is what to give to another client as its `api_key`, until it
        expires; this client goes on as it was.

        Args:
            name: Of a user.
            password: Theirs.
            code: Of their second factor, if they have one: of the app, or a recovery code.
        """
        return self._transport.call(routes.login(name, password, code))

    def sso_services(self) -> tuple[SsoProviderView, ...]:
        """The services by which people log in."""
        return (self._transport.call(routes.sso_services())).items

    def start_device_login(self, client: str = "") -> DeviceLoginStarted:
        """Begin to log in a program by a browser, which may be on another machine.

        Show `user_code` and `verification_uri_complete` to its user, and ask `device_session` in
        the interval that is said.

        Args:
            client: What the program is, in words that its user knows it by.
        """
        return self._transport.call(routes.start_device_login(client))

    def device_session(self, device_code: str) -> LoggedIn:
        """The session of a program whose user has approved it in a browser; once.

        Raises:
            ApiError: not yet, or not any more; its code is `authorization_pending` (ask again),
                `slow_down` (the same, in an interval that is 5 s longer), `access_denied` or
                `expired_token`.
        """
        return self._transport.call(routes.device_session(device_code))

    def refresh(self, refresh_token: str) -> LoggedIn:
        """The next tokens of a session; the one that is given is used up."""
        return self._transport.call(routes.refresh(refresh_token))

    def second_factor(self) -> SecondFactorState:
        """Whether one has a second factor."""
        return self._transport.call(routes.second_factor())

    def enrol_second_factor(self, password: str) -> Enrolment:
        """A secret for an app that shows codes; logins need it once it is confirmed."""
        return self._transport.call(routes.enrol_second_factor(password))

    def confirm_second_factor(self, code: str) -> tuple[str, ...]:
        """Show a code of the app; the answer is the only place where the recovery codes stand."""
        return (self._transport.call(routes.confirm_second_factor(code))).recovery_codes

    def disable_second_factor(self, password: str) -> None:
        """Remove one's second factor."""
        return self._transport.call(routes.disable_second_factor(password))

    def passkeys(self) -> tuple[Passkey, ...]:
        """One's passkeys, the oldest first."""
        return (self._transport.call(routes.passkeys())).items

    def passkey_options(self, password: str) -> PasskeyOptions:
        """What a browser needs to let a device make a passkey."""
        return self._transport.call(routes.passkey_options(password))

    def add_passkey(self, name: str, credential: Mapping[str, Any]) -> PasskeyAdded:
        """Register what `navigator.credentials.create` has given (`toJSON()`)."""
        return self._transport.call(routes.add_passkey(name, credential))

    def rename_passkey(self, passkey_id: str, name: str) -> Passkey:
        """Give a passkey another name."""
        return self._transport.call(routes.rename_passkey(passkey_id, name))

    def remove_passkey(self, passkey_id: str, password: str) -> None:
        """Remove a passkey; it needs the password."""
        return self._transport.call(routes.remove_passkey(passkey_id, password))

    def reset_second_factor(self, name: str) -> None:
        """Remove the app and the passkeys of somebody who has lost them (admins)."""
        return self._transport.call(routes.reset_second_factor(name))

    def invite(
        self, name: str, *, expires_in: str | None = None, by_email: bool | None = None
    ) -> Invitation:
        """A token by which somebody sets their first password, or another one, once.

        Args:
            name: Of a person.
            expires_in: Such as `12h`, at most 30 days; None: 3 days.
            by_email: True: it is sent to their address, or refused; False: it is in the answer;
                None: sent if that is possible (`sent_to`), else in the answer.
        """
        return self._transport.call(routes.invite(name, expires_in, by_email))

    def redeem(self, token: str, password: str) -> None:
        """Set a password with the token of an invitation or a reset."""
        return self._transport.call(routes.redeem(token, password))

    def logout(self) -> None:
        """End the session whose access token this client has."""
        return self._transport.call(routes.logout())

    def sessions(self, user: str | None = None) -> tuple[Session, ...]:
        """Open sessions, the newest first: one's own, for admins everybody's or those of a user."""
        return (self._transport.call(routes.sessions(user))).items

    def end_session(self, session_id: str) -> None:
        """End a session: its tokens open nothing any more."""
        return self._transport.call(routes.end_session(session_id))

    def change_password(self, old: str, new: str) -> None:
        """Change one's own password; all other sessions end."""
        return self._transport.call(routes.change_password(old, new))
