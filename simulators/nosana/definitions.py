"""What the network refuses in the body of `create`: it says no more than `Bad Request`."""

import re
from collections.abc import Mapping
from typing import Any

_OP_ARGS = {
    "image",
    "aliases",
    "cmd",
    "volumes",
    "expose",
    "gpu",
    "work_dir",
    "entrypoint",
    "env",
    "restart_policy",
    "private",
    "resources",
    "authentication",
}
_CRON = re.compile(r"\s*\S+\s+\S+\s+\S+\s+\S+\s+\S+\s*")
_LEAST_MINUTES = {"SIMPLE": 1, "SIMPLE-EXTEND": 1, "SCHEDULED": 1, "INFINITE": 60}
MAX_BODY = 2**20
"""Of every body, that of a result too."""


def acceptable(body: Any) -> bool:
    """Whether `create` takes it. Fields that are not known are no matter; markets neither."""
    if not isinstance(body, dict):
        return False
    strategy, timeout, replicas = (body.get(name) for name in ("strategy", "timeout", "replicas"))
    return (
        isinstance(body.get("name"), str)
        and isinstance(body.get("market"), str)
        and strategy in _LEAST_MINUTES
        and _number(timeout, _LEAST_MINUTES[strategy])
        and _number(replicas, 1)
        and (strategy != "SCHEDULED" or bool(_CRON.fullmatch(str(body.get("schedule", "")))))
        and not ("vault" in body and "new_vault" in body)
        and isinstance(body.get("confidential", True), bool)
        and isinstance(body.get("autostart", True), bool)
        and _definition(body.get("job_definition"))
    )


def operations(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The operations of a definition."""
    return list(definition["ops"])


def _definition(definition: Any) -> bool:
    """A definition without operations is one."""
    if not isinstance(definition, dict):
        return False
    ops = definition.get("ops")
    if definition.get("version") != "0.1" or definition.get("type") != "container":
        return False
    if not isinstance(ops, list) or not all(map(_operation, ops)):
        return False
    ids = [op["id"] for op in ops]
    return len(set(ids)) == len(ids)


def _operation(op: Any) -> bool:
    if not isinstance(op, dict) or not isinstance(op.get("id"), str):
        return False
    args = op.get("args")
    if op.get("type") != "container/run" or not isinstance(args, dict):
        return False
    env = args.get("env", {})
    return (
        isinstance(args.get("image"), str)
        and not set(args) - _OP_ARGS
        and isinstance(env, dict)
        and all(isinstance(value, str) for value in env.values())
    )


def _number(value: Any, least: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= least
