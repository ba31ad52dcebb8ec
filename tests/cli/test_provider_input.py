"""The configuration of a provider is taken as written, and its secrets are quoted nowhere."""

from pathlib import Path
from typing import Any

import pytest

from cli.errors import BadInput
from cli.provider_input import ConfigInput, read_config
from cortex.schemas.providers import ProviderTypeView

SCHEMA: dict[str, Any] = {
    "type": "object",
    "$defs": {"Login": {"type": "object", "properties": {"password": {"type": "string"}}}},
    "properties": {
        "api_key": {"type": "string"},
        "region": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "retries": {"type": "integer"},
        "names": {"type": "array", "items": {"type": "string"}},
        "logins": {"type": "array", "items": {"$ref": "#/$defs/Login"}},
        "images": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def config(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "config.yaml"
    path.write_text(text)
    return read_config(path, SCHEMA)


def test_text_is_as_it_was_written(tmp_path: Path) -> None:
    fields = config(
        tmp_path,
        "api_key: 0123\nregion: NO\nretries: 3\nnames: [1.10, yes]\n"
        "logins: [{password: 12:30}]\nimages: {a: 3.10}\n",
    )
    assert fields == {
        "api_key": "0123",
        "region": "NO",
        "retries": 3,
        "names": ["1.10", "yes"],
        "logins": [{"password": "12:30"}],
        "images": {"a": "3.10"},
    }
    assert config(tmp_path, "region: null\n") == {"region": None}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("api_key: hunter2: x\n", "neither YAML nor JSON (line 1)"),
        ("api_key: *hunter2\n", "neither YAML nor JSON (line 1)"),
        ("api_key: a\napi_key: hunter2\n", "`api_key` stands there twice"),
        ('{"api_key": "a", "api_key": "hunter2"}', "`api_key` stands there twice"),
        ("retries: 010\n", "`retries` has two readings; put it in quotes"),
        ("[a]\n", "must hold the fields"),
        ("", "must hold the fields"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        config(tmp_path, text)
    assert words in caught.value.message
    assert "hunter2" not in caught.value.message


def test_options() -> None:
    kind = ProviderTypeView(name="x", config_schema=SCHEMA, secret_fields=("api_key",))
    wanted = ConfigInput(kind)
    wanted.take(["region=3.10", "retries=5", 'names=["a"]', "images.a=1.0"], [], [])
    assert wanted.config == {
        "region": "3.10",
        "retries": 5,
        "names": ["a"],
        "images": {"a": "1.0"},
    }
