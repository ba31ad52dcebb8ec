"""The JSON Schema of group specs: `python -m cortex.domain.group_schema > FILE`."""

import json
import sys
from typing import Any

from cortex.domain.group_spec import GroupSpec
from cortex.domain.schema import job_spec_schema


def group_spec_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of what a user writes, short forms included."""
    job = job_spec_schema()
    schema = GroupSpec.model_json_schema(mode="validation")
    parts: dict[str, Any] = {**job["$defs"], **schema.pop("$defs")}
    fields = job["properties"]
    own = parts["GroupJob"]["properties"]
    own["after"]["anyOf"] = [{"type": "string"}, _without(own["after"], "default", "description")]
    for name in ("type", "items", "maxItems"):
        own["after"].pop(name, None)
    own["matrix"] = {
        "type": ["object", "null"],
        "description": own["matrix"]["description"],
        "additionalProperties": {
            "type": "array",
            "minItems": 1,
            "items": {"type": ["string", "number", "boolean"]},
        },
    }
    parts["GroupJob"]["properties"] = {**fields, **own, "secret_env": fields["secret_env"]}
    parts["GroupDefaults"]["properties"] = _without(fields, "name")
    for name in ("GroupJob", "GroupDefaults"):
        parts[name]["additionalProperties"] = False
    schema["properties"]["prepare_timeout"]["default"] = "5m"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "$defs": parts,
        "title": "Cortex group spec, version 1",
    }


def render() -> str:
    """The schema as it is checked in at `docs/group-spec.schema.json`."""
    return json.dumps(group_spec_schema(), indent=2) + "\n"


def _without(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in names}


if __name__ == "__main__":
    sys.stdout.write(render())
