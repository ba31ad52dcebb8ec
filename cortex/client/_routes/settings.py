"""The routes about settings: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping

from cortex.client._routes.call import Call, get, send
from cortex.domain.runtime_settings import Scalar
from cortex.schemas.runtime_settings import SettingsHistory, SettingsView


def settings() -> Call[SettingsView]:
    return get("/settings", SettingsView)


def change(
    values: Mapping[str, Scalar | None], comment: str, version: int | None
) -> Call[SettingsView]:
    body = {"values": dict(values), "comment": comment or None}
    return send("PATCH", "/settings", SettingsView, body, headers=_only(version))


def history(before: int | None) -> Call[SettingsHistory]:
    params = () if before is None else (("before", str(before)),)
    return get("/settings/history", SettingsHistory, params)


def roll_back(to: int, comment: str, version: int | None) -> Call[SettingsView]:
    body = {"version": to, "comment": comment or None}
    return send("POST", "/settings/rollback", SettingsView, body, headers=_only(version))


def _only(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
