"""The JSON Schema of job specs, for editors: `python -m cortex.domain.schema > FILE`."""

import json
import sys
from typing import Any, Final

from pydantic import BaseModel

from cortex.domain.spec import JobSpec, Placement, Resources, Volume
from cortex.domain.spec.rules import with_rules

# What is run: an image, a command, or both; or a scene, and then nothing else that says so.
_IMAGE: Final = {"required": ["image"], "properties": {"image": {"type": "string"}}}
_COMMAND: Final = {"required": ["command"], "properties": {"command": {"minItems": 1}}}
_NOT_RENDERED: Final = {"properties": {"render": {"type": "null"}}}
_SCENE: Final[dict[str, Any]] = {
    "required": ["render"],
    "properties": {
        "render": {"type": "object"},
        "kind": {"const": "batch"},
        "image": {"type": "null"},
        "workdir": {"type": "null"},
        "read_only_root": {"const": False},
        **{name: {"maxItems": 0} for name in ("command", "args", "ports", "volumes")},
        **{name: {"maxItems": 0} for name in ("outputs", "inputs")},
        **{name: {"maxProperties": 0} for name in ("env", "secret_env")},
    },
}
_WHAT_RUNS: Final = [
    {"allOf": [_IMAGE, _NOT_RENDERED]},
    {"allOf": [_COMMAND, _NOT_RENDERED]},
    _SCENE,
]


def job_spec_schema(*, templates: bool = False) -> dict[str, Any]:
    """The schema (draft 2020-12) of what a user writes, short forms included.

    With `templates` for the jobs of a group: their texts have placeholders, and so no form yet.
    """
    schema = JobSpec.model_json_schema(mode="validation")
    parts: dict[str, Any] = schema["$defs"]
    _write_defaults(parts["Resources"], Resources())
    _write_defaults(parts["Placement"], Placement())
    _write_defaults(parts["Volume"], Volume(name="v", path="/v"))
    _write_defaults(schema, JobSpec(command=("x",)))
    if templates:
        parts["Money"] = _or(parts["Money"], {"type": "string"})
        frames = parts["Render"]["properties"]["frames"]
        frames["type"] = ["string", "integer"]
    else:
        with_rules(schema)
        del parts["Money"]  # only amounts that are spent, which have a form of their own
    parts["Retries"] = _or(parts["Retries"], {"type": "integer", "minimum": 0, "maximum": 100})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Cortex job spec, version 1",
        "anyOf": _WHAT_RUNS,
    }


def render() -> str:
    """The schema as it is checked in at `docs/job-spec.schema.json`."""
    return json.dumps(job_spec_schema(), indent=2) + "\n"


def _or(schema: dict[str, Any], short: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, short], "description": schema.get("description", "")}


def _write_defaults(schema: dict[str, Any], example: BaseModel) -> None:
    """Sizes and durations as people write them: `10m`, not `PT10M`."""
    written = example.model_dump(mode="json")
    for name, part in schema["properties"].items():
        if isinstance(part.get("default"), str | int) and not isinstance(part["default"], bool):
            part["default"] = written[name]


if __name__ == "__main__":
    sys.stdout.write(render())
