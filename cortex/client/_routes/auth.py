"""The routes about logging in: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping
from typing import Any

from cortex.client._routes.call import V1, Call, get, query, send, sent
from cortex.client.encoding import quoted
from cortex.domain.passkeys import Passkey
from cortex.domain.second_factor import SecondFactorState
from cortex.schemas.auth import Enrolment, Invitation, LoggedIn, RecoveryCodes, SessionPage
from cortex.schemas.passkeys import PasskeyAdded, PasskeyOptions, PasskeyPage
from cortex.schemas.sso import DeviceLoginStarted, SsoProviderPage


def login(name: str, password: str, code: str | None) -> Call[LoggedIn]:
    body = {"name": name, "password": password, "code": code}
    return send("POST", "/auth/login", LoggedIn, body, repeatable=False)


def sso_services() -> Call[SsoProviderPage]:
    return get("/auth/oidc", SsoProviderPage)


def start_device_login(client: str) -> Call[DeviceLoginStarted]:
    body = {"client": client}
    return send("POST", "/auth/device/start", DeviceLoginStarted, body)


def device_session(device_code: str) -> Call[LoggedIn]:
    # Not repeatable: the answer that is lost was the only one.
    body = {"device_code": device_code}
    return send("POST", "/auth/device/token", LoggedIn, body, repeatable=False)


def refresh(refresh_token: str) -> Call[LoggedIn]:
    # Within seconds the same token is answered with the same next one.
    return send("POST", "/auth/refresh", LoggedIn, {"refresh_token": refresh_token})


def second_factor() -> Call[SecondFactorState]:
    return get("/auth/second-factor", SecondFactorState)


def enrol_second_factor(password: str) -> Call[Enrolment]:
    body = {"password": password}
    return send("POST", "/auth/second-factor", Enrolment, body, repeatable=False)


def confirm_second_factor(code: str) -> Call[RecoveryCodes]:
    body = {"code": code}
    return send("POST", "/auth/second-factor/confirm", RecoveryCodes, body, repeatable=False)


def disable_second_factor(password: str) -> Call[None]:
    body = {"password": password}
    return sent("POST", "/auth/second-factor/disable", body, repeatable=True)


def passkeys() -> Call[PasskeyPage]:
    return get("/auth/passkeys", PasskeyPage)


def passkey_options(password: str) -> Call[PasskeyOptions]:
    return send("POST", "/auth/passkeys/options", PasskeyOptions, {"password": password})


def add_passkey(name: str, credential: Mapping[str, Any]) -> Call[PasskeyAdded]:
    body = {"name": name, "credential": dict(credential)}
    return send("POST", "/auth/passkeys", PasskeyAdded, body, repeatable=False)


def rename_passkey(passkey_id: str, name: str) -> Call[Passkey]:
    path = f"/auth/passkeys/{quoted(passkey_id, safe='')}"
    return send("PATCH", path, Passkey, {"name": name})


def remove_passkey(passkey_id: str, password: str) -> Call[None]:
    path = f"/auth/passkeys/{quoted(passkey_id, safe='')}/remove"
    return sent("POST", path, {"password": password})


def reset_second_factor(name: str) -> Call[None]:
    path = f"{V1}/users/{quoted(name, safe='')}/second-factor"
    return Call("DELETE", path, lambda _: None)


def invite(name: str, expires_in: str | None, by_email: bool | None) -> Call[Invitation]:
    given = {"expires_in": expires_in, "by_email": by_email}
    body = {field: value for field, value in given.items() if value is not None}
    path = f"/users/{quoted(name, safe='')}/invitation"
    return send("POST", path, Invitation, body, repeatable=False)


def redeem(token: str, password: str) -> Call[None]:
    return sent("POST", "/auth/redeem", {"token": token, "password": password})


def logout() -> Call[None]:
    return Call("POST", f"{V1}/auth/logout", lambda _: None)


def sessions(user: str | None) -> Call[SessionPage]:
    return get("/auth/sessions", SessionPage, query(user=user))


def end_session(session_id: str) -> Call[None]:
    return Call("DELETE", f"{V1}/auth/sessions/{quoted(session_id, safe='')}", lambda _: None)


def change_password(old: str, new: str) -> Call[None]:
    body = {"old_password": old, "new_password": new}
    return sent("POST", "/auth/password", body)
