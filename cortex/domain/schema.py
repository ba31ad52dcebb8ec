"""The JSON Schema of job specs, for editors: `python -m cortex.domain.schema > FILE`."""

import json
import sys
from typing import Any

from pydantic import BaseModel

from cortex.domain.spec import JobSpec, Placement, Resources, Volume


def job_spec_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of what a user writes, short forms included."""
    schema = JobSpec.model_json_schema(mode="validation")
    parts: dict[str, Any] = schema["$defs"]
    parts["Money"] = _or(
        parts["Money"],
        {"type": "string", "pattern": r"^\s*[-+]?\d+(\.\d+)?\s*[A-Za-z]{3,10}\s*$"},
    )
    parts["Retries"] = _or(parts["Retries"], {"type": "integer", "minimum": 0, "maximum": 100})
    _write_defaults(parts["Resources"], Resources())
    _write_defaults(parts["Placement"], Placement())
    _write_defaults(parts["Volume"], Volume(name="v", path="/v"))
    parts["Render"]["properties"]["frames"]["type"] = ["string", "integer"]
    _write_defaults(schema, JobSpec(command=("x",)))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Cortex job spec, version 1",
        "anyOf": [{"required": ["image"]}, {"required": ["command"]}, {"required": ["render"]}],
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
