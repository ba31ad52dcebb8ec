"""Keeps the settings of this process as they were set at run time.

Everything is handed the sections of `Settings`, and reads their fields when it needs them. A
section is frozen for all of its readers; only `RuntimeSettings` changes some of its fields.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from pydantic import BaseModel, ValidationError

from cortex.db.engine import Database
from cortex.db.notify import Notifier, wait_event
from cortex.db.runtime_settings import CHANNEL
from cortex.domain.errors import CortexError, FieldError, InvalidRequest, field_errors
from cortex.domain.runtime_settings import NAMES, Scalar
from cortex.domain.units import format_duration
from cortex.settings import Settings
from cortex.tasks import end_task
from cortex.telemetry.logging import set_level

_LOOK_EVERY: Final = 5.0
"""Seconds. Changes are told at once; this is for those that were not heard."""
_LONGEST_NAME: Final = 60
_log = structlog.get_logger(__name__)


class RuntimeSettings:
    """The settings of one process, and what was set at run time of them.

    Attributes:
        version: The change that they are as of.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._base = {name: _get(settings, name) for name in NAMES}
        self.version = 0

    def base(self, name: str) -> Scalar:
        """What file, environment and defaults of this process say."""
        return written(self._base[name])

    def checked(self, values: Mapping[str, Scalar]) -> dict[str, Any]:
        """What the fields would be.

        Raises:
            InvalidRequest: names every setting that is not one or has no such value.
        """
        self.require_known(values)
        fields: dict[str, Any] = {}
        wrong: list[FieldError] = []
        for section in sorted({name.partition(".")[0] for name in values}):
            given = _of(section, values)
            model: BaseModel = getattr(self._settings, section)
            whole = {name: getattr(model, name) for name in type(model).model_fields}
            try:
                made = type(model).model_validate(whole | _of(section, self._base) | given)
            except ValidationError as error:
                wrong += [
                    FieldError(field=_named(section, each.field), message=each.message)
                    for each in field_errors(error)
                ]
            else:
                fields |= {f"{section}.{name}": getattr(made, name) for name in given}
        if wrong:
            raise _invalid(wrong)
        return fields

    def require_known(self, names: Iterable[str]) -> None:
        """Go on only if all of them can be set at run time.

        Raises:
            InvalidRequest: names every other one.
        """
        wrong = [
            FieldError(field=name[:_LONGEST_NAME], message=_unknown(self._settings, name))
            for name in names
            if name not in self._base
        ]
        if wrong:
            raise _invalid(wrong)

    def description(self, name: str) -> str:
        """What the setting does."""
        section, _, field = name.partition(".")
        model: BaseModel = getattr(self._settings, section)
        return type(model).model_fields[field].description or ""

    def apply(self, version: int, values: Mapping[str, Scalar]) -> None:
        """Let them hold in this process, and the base for all else.

        Raises:
            InvalidRequest: they do not go with what this process was started with.
        """
        fields = self._base | self.checked(values)
        for name, value in fields.items():
            section, _, field = name.partition(".")
            # Frozen for its readers. All that is handed the section sees the new value.
            getattr(self._settings, section).__dict__[field] = value
        set_level(self._settings.telemetry)
        self.version = version


class SettingsFollower:
    """Applies what is set at run time, within a moment, while the process runs."""

    def __init__(self, database: Database, notifier: Notifier, runtime: RuntimeSettings) -> None:
        """`notifier` must listen to `CHANNEL`."""
        self._database = database
        self._notifier = notifier
        self._runtime = runtime
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="runtime-settings")

    async def aclose(self) -> None:
        if self._task is not None:
            await end_task(self._task)

    async def _run(self) -> None:
        refused = 0
        with self._notifier.subscribe(CHANNEL) as changed:
            while True:
                try:
                    async with self._database.reading() as tx:
                        latest = await tx.runtime_settings.latest()
                    if latest.version not in (self._runtime.version, refused):
                        refused = latest.version
                        self._runtime.apply(latest.version, latest.values)
                        _log.info("settings.applied", version=latest.version)
                except InvalidRequest as error:
                    _log.error("settings.refused", version=refused, error=error.detail)
                except CortexError as error:
                    _log.warning("settings.database_away", error=error.detail)
                except Exception:  # such as a table that is still to come; it is looked for again
                    _log.exception("settings.not_read")
                await wait_event(changed, _LOOK_EVERY)


def written(value: Any) -> Scalar:
    """A field's value as one writes it."""
    if isinstance(value, timedelta):
        return format_duration(value)
    return value if isinstance(value, bool | int) else str(value)


def _get(settings: Settings, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(settings, section), field)


def _of(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(f"{section}."): value
        for name, value in values.items()
        if name.startswith(f"{section}.")
    }


def _named(section: str, field: str) -> str:
    # What is wrong with several of its fields together is told of "spec".
    return section if field == "spec" else f"{section}.{field}"


def _unknown(settings: Settings, name: str) -> str:
    section, _, field = name.partition(".")
    model = getattr(settings, section) if section in Settings.model_fields else None
    # `encryption_keys` and `plugins.email` are of no section.
    known = field in type(model).model_fields if isinstance(model, BaseModel) else True
    if section in Settings.model_fields and known:
        return "is set where Cortex is started (file or environment): it needs a restart"
    return "is no setting; `cortex settings list` has those that can be set while Cortex runs"


def _invalid(errors: list[FieldError]) -> InvalidRequest:
    first = errors[0]
    return InvalidRequest(
        f"the settings are not valid: `{first.field}` {first.message}", errors=errors
    )
