"""The newer Console's API: the official file of 2026-08-22 with what has changed in it since.

`recordings/console-changes.json` tells the changes of the newest official file in words. Each is
put into the document here, and looked up there first: one that is not told there is an error.
"""

import json
from typing import Any

import pytest

from tests.support.openapi import FOLDER, Contract

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": "string", "nullable": True}
NUMBER: Schema = {"type": "number"}
DSEQ: Schema = {"type": "string", "pattern": "^0*[1-9]\\d*$"}


def newer_contract() -> Contract:
    """The newer Console's contract; the test is skipped where the recordings are not there."""
    if not (FOLDER / "recordings" / "console-changes.json").exists():
        pytest.skip("the recording console-changes.json is not beside the project")
    mended = {'"^d+$"': '"^\\\\d+$"'}
    return Contract("akash-console-openapi.json", replace=mended, amend=_amend)


def _amend(document: dict[str, Any]) -> None:
    text = (FOLDER / "recordings" / "console-changes.json").read_text(encoding="utf-8")
    told = json.loads(text)
    paths = document["paths"]
    _creation(paths, told["changed"]["POST /v1/deployments"])
    _list(paths, told["changed"]["GET /v1/deployments"])
    _detail(paths, told["changed"]["GET /v1/deployments/{dseq}"])
    _close(paths, told["changed"]["DELETE /v1/deployments/{dseq}"])
    _settings(paths, told["changed"]["PATCH /v1|v2/deployment-settings"])
    _leases(paths, told["changed"]["POST /v1/leases"])
    _added(paths, told["added endpoints"])


def _says(told: dict[str, str], part: str, *words: str) -> None:
    for word in words:
        assert word in told[part], f"the recording does not tell of {word}"


def _creation(paths: Any, told: dict[str, str]) -> None:
    _says(told, "request", "524288", "name", "sealedSecrets", "runtimeLimitHours 1-48")
    wanted = {
        "sdl": {**TEXT, "maxLength": 524288},
        "name": {**TEXT, "minLength": 1, "maxLength": 256},
        "sealedSecrets": {**TEXT, "minLength": 1},
        "inheritSecretsFrom": DSEQ,
        "runtimeLimitHours": {"type": "integer", "minimum": 1, "maximum": 48},
    }
    _body(paths["/v1/deployments"]["post"], wanted, required=["sdl"])


def _list(paths: Any, told: dict[str, str]) -> None:
    _says(told, "query", "state=active|closed", "search (<=256", "limit 1-100", "skip integer")
    _says(told, "answer", "name, groups[]", "settings{name,runtimeLimitHours,runtimeEndsAt,closed}")
    one = paths["/v1/deployments"]["get"]
    one["parameters"] = [
        _query("state", {**TEXT, "enum": ["active", "closed"]}),
        _query("reverse", {**TEXT, "enum": ["true", "false"]}),
        _query("search", {**TEXT, "maxLength": 256}),
        _query("skip", {"type": "integer", "minimum": 0}),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
    ]
    data = _data(one["responses"]["200"])
    deployment = data["properties"]["deployments"]["items"]
    deployment["properties"] |= {
        "name": MAYBE_TEXT,
        "groups": {"type": "array", "items": {"type": "object"}},
        "settings": {
            "type": "object",
            "nullable": True,
            "required": ["name", "runtimeLimitHours", "runtimeEndsAt", "closed"],
        },
    }
    deployment["required"] = [*deployment["required"], "name", "groups", "settings"]
    data["properties"]["pagination"]["properties"]["total"]["nullable"] = True


def _detail(paths: Any, told: dict[str, str]) -> None:
    _says(told, "answer", "name|null", "consoleSettings{sdl,manifestVersion}|null")
    data = _data(paths["/v1/deployments/{dseq}"]["get"]["responses"]["200"])
    data["properties"] |= {"name": MAYBE_TEXT, "consoleSettings": _stored()}
    data["required"] = [*data["required"], "name", "consoleSettings"]


def _close(paths: Any, told: dict[str, str]) -> None:
    _says(told, "query", "async=true|false")
    _says(told, "statuses", "202 {data:{activityId}}", "200 {data:{success}}")
    one = paths["/v1/deployments/{dseq}"]["delete"]
    flag = _query("async", {**TEXT, "enum": ["true", "false"]})
    one["parameters"] = [*one.get("parameters", ()), flag]
    one["responses"]["202"] = _answer({"activityId": TEXT})


def _settings(paths: Any, told: dict[str, str]) -> None:
    _says(told, "request", "runtimeLimitHours integer 1-8760 or null", "autoTopUpEnabled is gone")
    _says(told, "answer", "sdl|null, runtimeLimitHours|null, runtimeEndsAt|null")
    hours = {"type": "integer", "minimum": 1, "maximum": 8760, "nullable": True}
    one = paths["/v2/deployment-settings/{dseq}"]
    _body(one["patch"], {"runtimeLimitHours": hours}, required=[])
    for method in ("get", "patch"):
        data = _data(one[method]["responses"]["200"])
        data["properties"] |= {
            "sdl": MAYBE_TEXT,
            "runtimeLimitHours": {"type": "integer", "nullable": True},
            "runtimeEndsAt": {**MAYBE_TEXT, "format": "date-time"},
        }
        data["required"] = [*data["required"], "sdl", "runtimeLimitHours", "runtimeEndsAt"]


def _leases(paths: Any, told: dict[str, str]) -> None:
    _says(told, "request", "manifest optional")
    _says(told, "statuses", "502 {error,message,code,type,data?}", "manifest_not_delivered")
    one = paths["/v1/leases"]["post"]
    schema = one["requestBody"]["content"]["application/json"]["schema"]
    schema["required"] = ["leases"]
    refusal = {
        "type": "object",
        "properties": {name: TEXT for name in ("error", "message", "code", "type")},
        "required": ["error", "message", "code", "type"],
    }
    one["responses"]["502"] = {
        "description": "",
        "content": {"application/json": {"schema": refusal}},
    }


def _added(paths: Any, told: dict[str, Any]) -> None:
    _says(told["PATCH /v1/deployments/{dseq}"], "body", "name?(1-256)")
    key = "GET /v1/sdl-secrets-context"
    _says(told[key], "answer", "data{sub,kid,jwk{kty,n,e,use,alg},requiredClaims[kid|sub|exp]}")
    activity = told["GET /v1/activities, GET /v1/activities/{id}, POST /v1/activities/seen"]
    _says(activity, "activity", "id, type, status pending|succeeded|failed", "seenAt, createdAt")
    number = {"name": "dseq", "in": "path", "required": True, "schema": DSEQ}
    chain = _data(paths["/v1/leases"]["post"]["responses"]["200"])
    patch: Schema = {"parameters": [number], "responses": {"200": _wrapped(chain)}}
    patch["requestBody"] = {}
    _body(patch, {"name": {**TEXT, "minLength": 1, "maxLength": 256}}, required=[])
    paths["/v1/deployments/{dseq}"]["patch"] = patch
    jwk = {
        "type": "object",
        "properties": dict.fromkeys(("kty", "n", "e", "use", "alg"), TEXT),
        "required": ["kty", "n", "e", "use", "alg"],
    }
    claims = {"type": "array", "items": {**TEXT, "enum": ["kid", "sub", "exp"]}}
    context = _answer({"sub": TEXT, "kid": TEXT, "jwk": jwk, "requiredClaims": claims})
    paths["/v1/sdl-secrets-context"] = {"get": {"responses": {"200": context}}}
    states = {**TEXT, "enum": ["pending", "succeeded", "failed"]}
    fields = {
        "id": {**TEXT, "format": "uuid"},
        "type": TEXT,
        "status": states,
        "meta": {"type": "object"},
        "seenAt": MAYBE_TEXT,
        "createdAt": TEXT,
        "updatedAt": TEXT,
    }
    which = {"name": "id", "in": "path", "required": True, "schema": TEXT}
    one = {"parameters": [which], "responses": {"200": _answer(fields)}}
    paths["/v1/activities/{id}"] = {"get": one}


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _stored() -> Schema:
    return {
        "type": "object",
        "nullable": True,
        "properties": {"sdl": TEXT, "manifestVersion": TEXT},
        "required": ["sdl", "manifestVersion"],
    }


def _data(answer: Schema) -> Schema:
    schema: Schema = answer["content"]["application/json"]["schema"]["properties"]["data"]
    return schema


def _wrapped(data: Schema) -> Schema:
    schema = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    return {"description": "", "content": {"application/json": {"schema": schema}}}


def _answer(fields: Schema) -> Schema:
    return _wrapped({"type": "object", "properties": fields, "required": list(fields)})


def _body(operation: Schema, fields: Schema, *, required: list[str]) -> None:
    """Let a request carry these fields and no others."""
    data = {"type": "object", "properties": fields, "additionalProperties": False}
    if required:
        data["required"] = required
    schema = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": schema}},
    }
