"""Where each setting came from."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_settings import (
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    TomlConfigSettingsSource,
)

from cortex.domain.units import format_duration
from cortex.embedded.config import user_settings
from cortex.settings import Settings, config_file

_MASK = "**********"
_PLUGINS = "plugins"
_USER_INFO = re.compile(r"(://)[^/@\s]+@")
_SECRET_WORDS = ("key", "secret", "token", "password", "mnemonic", "credential", "private")


@dataclass(frozen=True)
class Setting:
    """One setting: dotted name, value as text, where it came from, what it does."""

    name: str
    value: str
    source: str
    description: str


def all_settings() -> list[Setting]:
    """Every setting, in the order of the class.

    Raises:
        StackError: the settings are not valid.
    """
    settings = user_settings()
    sources = [(label, source()) for label, source in _sources()]
    return [
        Setting(name, text, _source_of(path, sources), description)
        for path, text, description in _leaves(settings, ())
        for name in [".".join(path)]
    ]


def _sources() -> Iterator[tuple[str, PydanticBaseSettingsSource]]:
    customised = Settings.settings_customise_sources(
        Settings,
        InitSettingsSource(Settings, {}),
        EnvSettingsSource(Settings),
        DotEnvSettingsSource(Settings),
        SecretsSettingsSource(Settings),
    )
    for source in customised:
        if isinstance(source, NestedSecretsSettingsSource):
            yield f"secrets folder {os.environ.get('CORTEX_SECRETS_DIR', '')}", source
        elif isinstance(source, EnvSettingsSource):
            yield "environment", source
        elif isinstance(source, TomlConfigSettingsSource):
            yield str(config_file()), source


def _source_of(path: tuple[str, ...], sources: list[tuple[str, dict[str, Any]]]) -> str:
    for label, values in sources:
        if _has(values, path):
            return f"CORTEX_{'__'.join(path).upper()}" if label == "environment" else label
    return "default"


def _has(values: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(values, Mapping):
            # Given as a whole, such as JSON in one variable.
            return values is not None
        if name not in values:
            return False
        values = values[name]
    return True


def _leaves(model: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        here = (*path, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, here)
        elif isinstance(value, Mapping) and value:
            for key, nested in value.items():
                yield from _entries(nested, (*here, str(key)), info.description or "")
        else:
            yield here, _text(value, name), info.description or ""


def _entries(
    value: Any, path: tuple[str, ...], description: str
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """The fields of a provider, also those that only its type knows."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields} | (
            value.model_extra or {}
        )
    if isinstance(value, Mapping):
        for name, nested in value.items():
            yield from _entries(nested, (*path, str(name)), description)
    elif path[0] == _PLUGINS and _names_places(value):
        # Which of its fields are secret only the plugin knows, and such URLs hold tokens anywhere.
        yield path, _MASK, description
    else:
        yield path, _text(value, path[-1]), description


def _names_places(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_names_places(each) for each in value)
    return isinstance(value, str) and "://" in value


def _text(value: Any, name: str) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, SecretStr) or any(word in name.lower() for word in _SECRET_WORDS):
        return _MASK
    if isinstance(value, str):
        return _USER_INFO.sub(rf"\1{_MASK}@", value)
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
