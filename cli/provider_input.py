"""The configuration of a provider from the command line: options, files, and hidden questions."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import Any

from cli.errors import BadInput
from cli.state import interactive
from cortex.documents import AmbiguousValue, DocumentError, Malformed, read, schema_shape
from cortex.schemas.providers import ProviderTypeView

_MOST = 64 * 1024


class ConfigInput:
    """Collects the fields of a provider's configuration.

    Args:
        kind: The type: it knows which fields are secret.
        config: What to begin with, such as the content of a file.
    """

    def __init__(self, kind: ProviderTypeView, config: Mapping[str, Any] | None = None) -> None:
        self._kind = kind
        self.config: dict[str, Any] = dict(config or {})

    def take(
        self, fields: Sequence[str], from_env: Sequence[str], from_file: Sequence[str]
    ) -> None:
        """The options `--set`, `--secret-from-env` and `--secret-from-file`."""
        for option in fields:
            name, value = _pair(option, "--set", "name=value")
            if self._is_secret(name):
                raise BadInput(
                    f"--set {name}: it is a secret, and command lines are seen by others; leave it "
                    f"out to be asked, or use --secret-from-env {name}=VARIABLE or "
                    f"--secret-from-file {name}=FILE"
                )
            self._put(name, self._typed(name, value))
        for option in from_env:
            name, variable = _pair(option, "--secret-from-env", "name=VARIABLE")
            secret = os.environ.get(variable, "")
            if not secret:
                raise BadInput(f"--secret-from-env {name}: the variable `{variable}` is not set")
            self._put(name, secret)
        for option in from_file:
            name, path = _pair(option, "--secret-from-file", "name=FILE")
            self._put(name, _secret_of(path, name))

    def ask(self) -> None:
        """Ask for the secrets that were not given, without showing what is typed."""
        required = set(self._kind.config_schema.get("required", ()))
        for name in self._kind.secret_fields:
            if "." in name or name in self.config:
                continue  # those inside lists and the like come with `--config`
            if not interactive():
                if name in required:
                    raise BadInput(
                        f"`{name}` is a secret that is needed: give it with --secret-from-env "
                        f"{name}=VARIABLE or --secret-from-file {name}=FILE"
                    )
                continue
            secret = self._hidden(name, needed=name in required)
            if secret:
                self.config[name] = secret

    def ask_for(self, name: str) -> None:
        """Ask for one secret, whether it is set already or not."""
        if not self._is_secret(name) or "." in name:
            known = ", ".join(
                field_name for field_name in self._kind.secret_fields if "." not in field_name
            )
            raise BadInput(f"--ask {name}: the secrets of this type are {known or 'none'}")
        if not interactive():
            raise BadInput(f"--ask {name}: nobody is there; use --secret-from-env {name}=VARIABLE")
        self.config[name] = self._hidden(name, needed=True)

    def _hidden(self, name: str, *, needed: bool) -> str:
        about = self._kind.config_schema.get("properties", {}).get(name, {}).get("description", "")
        if about:
            print(f"{name}: {about}", file=sys.stderr)
        hint = "" if needed else " (empty: none)"
        while not (secret := getpass(f"{name}{hint}: ").strip()) and needed:
            print(f"{name} is needed; Ctrl-C gives up", file=sys.stderr)
        return secret

    def _is_secret(self, name: str) -> bool:
        return any(
            name == secret or name.startswith(f"{secret}.") for secret in self._kind.secret_fields
        )

    def _put(self, name: str, value: Any) -> None:
        *above, last = name.split(".")
        inside = self.config
        for part in above:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise BadInput(f"`{name}`: `{part}` has no fields")
        inside[last] = value

    def _typed(self, name: str, text: str) -> Any:
        """As JSON where the field is more than a text: `5`, `true`, `["eu"]`, `null`."""
        shape = schema_shape(self._kind.config_schema)
        for part in name.split("."):
            shape = shape.at(part)
        if shape.scalar == "text" and shape.item is None and text != "null":
            return text
        try:
            return json.loads(text)
        except ValueError:
            return text


def read_config(path: Path | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A YAML or JSON file with the fields of a configuration; `-` is standard input.

    Args:
        path: The file; None: there is none.
        schema: The JSON Schema of the configuration: it says where text belongs.

    Raises:
        BadInput: it cannot be read, or a field stands there twice or has two readings.
    """
    if path is None:
        return {}
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        documents = read(raw)
        fields = documents[0].build(schema_shape(schema)).value if len(documents) == 1 else None
    except OSError as error:
        raise BadInput(f"--config {path}: {error.strerror}") from None
    except Malformed as error:
        # Not what the parser says: it quotes the line, and there are secrets in this file.
        line = f" (line {error.line})" if error.line else ""
        raise BadInput(f"--config {path}: it is neither YAML nor JSON{line}") from None
    except AmbiguousValue as error:
        what = f"`{error.path}` has two readings"
        raise BadInput(f"--config {path}: {what}; put it in quotes") from None
    except DocumentError as error:
        raise BadInput(f"--config {path}: `{error.path}` {error.message}") from None
    if not isinstance(fields, dict):
        raise BadInput(f"--config {path}: it must hold the fields of a provider's configuration")
    return fields


def _pair(option: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not name or not equals:
        raise BadInput(f"{flag} `{name}`: it must be {form}")
    return name, value


def _secret_of(path: str, name: str) -> str:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadInput(f"--secret-from-file {name}: {path}: {why}") from None
    secret = text.strip()
    if not secret or len(secret) > _MOST:
        raise BadInput(f"--secret-from-file {name}: {path} is empty, or no secret")
    return secret
