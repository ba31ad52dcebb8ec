"""The JSON Schema of group specs: `python -m cortex.domain.groups.json_schema > FILE`."""

import json
import sys
from datetime import timedelta
from typing import Any

from cortex.domain.groups.spec import MAX_MEMBERS, GroupSpec
from cortex.domain.names import NAME
from cortex.domain.schema import job_spec_schema
from cortex.domain.spec.rules import LABELS, span


def group_spec_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of what a user writes, short forms included."""
    job = job_spec_schema(templates=True)
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
    fields = _without(fields, "notify")
    parts["GroupJob"]["properties"] = {**fields, **own, "secret_env": fields["secret_env"]}
    parts["GroupDefaults"]["properties"] = _without(fields, "name")
    for name in ("GroupJob", "GroupDefaults"):
        parts[name]["additionalProperties"] = False
    head = schema["properties"]
    head["prepare_timeout"] = {
        **_without(head["prepare_timeout"], "type", "examples"),
        **span(timedelta(seconds=1), timedelta(days=1)),
        "default": "5m",
    }
    head["name"]["pattern"] = NAME
    head["labels"] |= LABELS
    own["name"]["pattern"] = f"^{NAME[1:-1]}([-._]*\\{{.*)?$"
    own["count"] |= {"minimum": 1, "maximum": MAX_MEMBERS}
    own["matrix"] |= {
        "minProperties": 1,
        "maxProperties": 16,
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,31}$"},
    }
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
