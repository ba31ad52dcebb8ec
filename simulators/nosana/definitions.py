"""What the network refuses in the body of `create`."""

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
_STRATEGIES = ("SIMPLE", "SIMPLE-EXTEND", "SCHEDULED", "INFINITE")


def objection(body: dict[str, Any], markets: set[str]) -> str:
    """Why it is refused; empty if it is taken."""
    timeout = body.get("timeout")
    checks = (
        (isinstance(body.get("name"), str) and body["name"], "name is required"),
        (body.get("market") in markets, "market not found"),
        (body.get("strategy") in _STRATEGIES, "strategy is not valid"),
        (isinstance(body.get("replicas"), int) and body["replicas"] >= 1, "replicas must be >= 1"),
        (isinstance(timeout, int) and timeout >= 1, "timeout must be at least 1 minute"),
        (isinstance(body.get("job_definition"), dict), "job_definition is required"),
    )
    for good, why in checks:
        if not good:
            return why
    return _definition(body["job_definition"])


def _definition(definition: dict[str, Any]) -> str:
    ops = definition.get("ops")
    if definition.get("version") != "0.1" or definition.get("type") != "container":
        return "job_definition: version must be 0.1 and type container"
    if not isinstance(ops, list) or len(ops) != 1 or ops[0].get("type") != "container/run":
        return "job_definition: this simulator runs exactly one container/run"
    args = ops[0].get("args")
    if not ops[0].get("id") or not isinstance(args, dict) or not args.get("image"):
        return "job_definition: ops[0] needs id and args.image"
    unknown = sorted(set(args) - _OP_ARGS)
    if unknown:
        return f"job_definition: ops[0].args.{unknown[0]} is not known"
    env = args.get("env", {})
    if not all(isinstance(value, str) for value in env.values()):
        return "job_definition: ops[0].args.env must hold texts"
    return ""
