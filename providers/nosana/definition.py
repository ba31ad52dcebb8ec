"""A job as Nosana takes it: a deployment of one container that runs once.

The definition's `meta` carries the price that was agreed and whether the runner is around the
command: what is known of a lease must be found again from the network alone.
"""

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.spec import JobSpec
from providers.dropbox import INPUTS, OUTPUTS, DropBox
from providers.errors import Unsuitable
from providers.nosana.config import NosanaConfig
from providers.runner import RunnerUrls, wrap

OP = "main"
_HOURLY = "cortex_usd_per_hour"
_RUNNER = "cortex_runner"
# Results may be sent some time after the job's own end.
_LINKS_LIVE_ON = timedelta(hours=6)


def deployment_body(
    spec: JobSpec,
    name: str,
    key: str,
    *,
    market: str,
    hourly: Decimal,
    config: NosanaConfig,
    drop: DropBox | None,
) -> dict[str, Any]:
    """The body of `create`.

    Raises:
        Unsuitable: this job cannot run there.
    """
    minutes = limit_minutes(spec, config)
    return {
        "name": name,
        "market": market,
        "replicas": 1,
        "timeout": minutes,
        "strategy": "SIMPLE",
        "confidential": config.confidential,
        "job_definition": {
            "version": "0.1",
            "type": "container",
            "meta": {
                "trigger": "api",
                _HOURLY: format(hourly, "f"),
                _RUNNER: "1" if framed(spec) else "0",
            },
            "ops": [{"type": "container/run", "id": OP, "args": _args(spec, key, minutes, drop)}],
        },
    }


def limit_minutes(spec: JobSpec, config: NosanaConfig) -> int:
    """When the network ends the job by itself: after Cortex would have done it."""
    return max(1, math.ceil((spec.duration + config.time_margin) / timedelta(minutes=1)))


def agreed_hourly(definition: dict[str, Any]) -> Decimal | None:
    """The price that stands in a job's definition."""
    text = _meta(definition).get(_HOURLY)
    return Decimal(text) if isinstance(text, str) else None


def framed(spec: JobSpec) -> bool:
    """Whether the job needs the runner: for files that come or go over the drop box."""
    return bool(spec.outputs or spec.inputs)


def has_runner(definition: dict[str, Any]) -> bool:
    """Whether the job's log is framed by the runner."""
    return _meta(definition).get(_RUNNER) == "1"


def _meta(definition: dict[str, Any]) -> dict[str, Any]:
    found = definition.get("meta")
    return found if isinstance(found, dict) else {}


def _args(spec: JobSpec, key: str, minutes: int, drop: DropBox | None) -> dict[str, Any]:
    args: dict[str, Any] = {
        "image": spec.image,
        "env": spec.environment(),
        "gpu": spec.resources.gpu is not None,
        "restart_policy": "no",
    }
    command, arguments = list(spec.command), list(spec.args)
    if framed(spec):
        if drop is None:
            raise Unsuitable(NO_FILES)
        lifetime = timedelta(minutes=minutes) + _LINKS_LIVE_ON
        urls = RunnerUrls(
            outputs=drop.put_url(key, OUTPUTS, lifetime),
            inputs=drop.get_url(key, INPUTS, lifetime),
        )
        wrapped = wrap(spec, key, urls=urls, idle=False)
        command, arguments, args["env"] = list(wrapped.argv), [], wrapped.env
    if command:
        args["entrypoint"] = command
    if arguments:
        args["cmd"] = arguments
    if spec.workdir is not None:
        args["work_dir"] = spec.workdir
    if spec.ports:
        args["expose"] = [port.port for port in spec.ports]
    return args


NO_FILES = "it hands over no files without a drop box (`drop.secret` in the settings)"
