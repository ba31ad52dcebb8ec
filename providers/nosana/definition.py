"""A job as Nosana takes it: a deployment of one container that runs once, started as it is made.

The definition is pinned to IPFS whatever `confidential` says, so it holds no secret, and no link to
files: these come by the runner's handover. Its `meta` carries the price that was agreed and whether
the runner is around the command: what is known of a lease must be found again from the network.
"""

import json
import math
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.conditions.kernel import MAX_ARG_STRLEN
from cortex.domain.spec import JobSpec
from providers.dropbox import HANDOVER, INPUTS, LONG, OUTPUTS, RESULT, DropBox
from providers.errors import Unsuitable
from providers.nosana.config import NosanaConfig
from providers.nosana.shielding import shielded
from providers.runner import HANDOVER_URL, RunnerUrls, hand_over, wrap

OP = "main"
MAX_BODY = 2**20
"""Of every body that the service takes, a node's result too (recorded)."""
LINK = 4096
"""What a link to what waits in the drop box may add to a body."""
_ROOM = MAX_BODY - 48 * 1024
_HOURLY = "cortex_usd_per_hour"
_RUNNER = "cortex_runner"
# Results may be sent some time after the job's own end.
_LINKS_LIVE_ON = timedelta(hours=6)


@dataclass(frozen=True)
class Plan:
    """What `create` is to be sent, and what waits in the drop box for the job, if anything."""

    body: dict[str, Any]
    handover: bytes | None = None
    needed: bool = False
    """Whether the job cannot run without it; if not, it is for the end of too long a log."""

    @property
    def text(self) -> str:
        return json.dumps(self.body, separators=(",", ":"))


def plan(
    spec: JobSpec,
    name: str,
    key: str,
    *,
    market: str,
    hourly: Decimal,
    config: NosanaConfig,
    drop: DropBox | None,
) -> Plan:
    """The body of `create`, but for the link to what waits in the drop box (see `linked`).

    Raises:
        Unsuitable: this job cannot run there.
    """
    minutes = limit_minutes(spec, config)
    args, handover = _args(spec, key, minutes, config, drop)
    body = {
        "name": name,
        "market": market,
        "replicas": 1,
        "timeout": minutes,
        "strategy": "SIMPLE",
        "confidential": config.confidential,
        "autostart": True,
        # Newer versions of the service refuse a second one with 409; others take no notice.
        "idempotency_key": name,
        "job_definition": {
            "version": "0.1",
            "type": "container",
            "meta": {
                "trigger": "api",
                _HOURLY: format(hourly, "f"),
                _RUNNER: "1" if framed(spec, config) else "0",
            },
            "ops": [{"type": "container/run", "id": OP, "args": args}],
        },
    }
    made = Plan(body, handover, needed=handed(spec))
    if len(made.text) > MAX_BODY - LINK:
        raise Unsuitable("the job's definition is larger than the 1 MiB that Nosana takes")
    return made


def linked(text: str, key: str, drop: DropBox | None) -> dict[str, Any]:
    """The body of a plan, with the link by which the job takes what waits for it."""
    body: dict[str, Any] = json.loads(text)
    env = body["job_definition"]["ops"][0]["args"]["env"]
    if HANDOVER_URL in env and drop is not None:
        lifetime = timedelta(minutes=body["timeout"]) + _LINKS_LIVE_ON
        env[HANDOVER_URL] = drop.take_url(key, HANDOVER, lifetime)
    return body


def limit_minutes(spec: JobSpec, config: NosanaConfig) -> int:
    """When the network ends the job by itself: after Cortex would have done it."""
    return max(1, math.ceil((spec.duration + config.time_margin) / timedelta(minutes=1)))


def agreed_hourly(definition: dict[str, Any]) -> Decimal | None:
    """The price that stands in a job's definition."""
    text = _meta(definition).get(_HOURLY)
    return Decimal(text) if isinstance(text, str) else None


def handed(spec: JobSpec) -> bool:
    """Whether the job has what only the drop box can hand over or take."""
    return bool(spec.outputs or spec.inputs or spec.secret_env)


def framed(spec: JobSpec, config: NosanaConfig) -> bool:
    """Whether the runner is put around the command: for files, secrets, and logs of any length."""
    return bool(spec.command) and (config.bound_logs or handed(spec))


def has_runner(definition: dict[str, Any]) -> bool:
    """Whether the job's log is framed by the runner."""
    return _meta(definition).get(_RUNNER) == "1"


def image_of(definition: dict[str, Any]) -> str:
    """The image of a job's container; empty where the definition is not told."""
    try:
        return str(definition["ops"][0]["args"]["image"])
    except (KeyError, IndexError, TypeError):
        return ""


def _meta(definition: dict[str, Any]) -> dict[str, Any]:
    meta = definition.get("meta")
    return meta if isinstance(meta, dict) else {}


def _args(
    spec: JobSpec, key: str, minutes: int, config: NosanaConfig, drop: DropBox | None
) -> tuple[dict[str, Any], bytes | None]:
    """The container's arguments, and what is to wait in the drop box for it."""
    if handed(spec) and drop is None:
        raise Unsuitable(NO_DROP)
    command, env, handover = [*spec.command, *spec.args], dict(spec.env), None
    if framed(spec, config):
        wrapped = wrap(spec, key, idle=False, room=_ROOM, hide=drop is not None)
        command, env = list(wrapped.argv), wrapped.env
        if drop is not None:
            lifetime = timedelta(minutes=minutes) + _LINKS_LIVE_ON
            links, seed = _links(spec, key, drop, lifetime), drop.seed(key, HANDOVER)
            env, handover = hand_over(wrapped, links, seed=seed, needed=handed(spec))
    command, env = shielded(command, env, whole=bool(spec.command))
    if any(len(word.encode()) >= MAX_ARG_STRLEN for word in command):
        raise Unsuitable("what its nodes would rewrite makes a word longer than the kernel takes")
    args: dict[str, Any] = {
        "image": spec.image,
        "env": env,
        "gpu": spec.resources.gpu is not None,
        "restart_policy": "no",
    }
    if spec.command:
        args["entrypoint"] = command
    elif command:
        args["cmd"] = command
    if spec.workdir is not None:
        args["work_dir"] = spec.workdir
    if spec.ports:
        args["expose"] = [port.port for port in spec.ports]
    return args, handover


def _links(spec: JobSpec, key: str, drop: DropBox, lifetime: timedelta) -> RunnerUrls:
    return RunnerUrls(
        result=drop.put_url(key, RESULT, lifetime),
        outputs=drop.put_url(key, OUTPUTS, lifetime) if spec.outputs else None,
        inputs=drop.get_url(key, INPUTS, lifetime) if spec.inputs else None,
        long=drop.put_url(key, LONG, lifetime),
    )


NO_DROP = (
    "its job definitions are pinned to public IPFS, so files and secrets come and go through the "
    "drop box only: set `drop.secret` and `drop.public_url`"
)
