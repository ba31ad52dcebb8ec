"""What to run instead of a job's command."""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from cortex.domain.spec import JobSpec
from providers.errors import Unsuitable
from providers.outputs import outputs_word, packing
from providers.variables import carried

_PREFIX = "CORTEX_RUNNER_"
_PART = "# part "
_END = "# end of part"
_PACKING = "# packing: the functions of providers/outputs/pack.sh"


@dataclass(frozen=True)
class RunnerUrls:
    """Where the runner sends results (PUT or POST) and gets files; all are optional, presigned."""

    result: str | None = None
    """Gets `{"exit_code", "finished_at", "outputs"}` once the command has ended."""
    outputs: str | None = None
    """Gets a tar of the declared outputs."""
    inputs: str | None = None
    """Has a tar of the files that the job begins with."""
    long: str | None = None
    """Gets the lines that the network's log has no room for; handed over only (see `sealed`)."""


@dataclass(frozen=True)
class Wrapped:
    """A command with its variables, ready for a container."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)  # secrets of the job are among them, unless hidden
    hidden: dict[str, str] = field(default_factory=dict, repr=False)
    """Variables with the job's secrets, for who hands them over in another way."""


def wrap(
    spec: JobSpec,
    key: str,
    *,
    state_dir: str | None = None,
    marks_dir: str | None = None,
    urls: RunnerUrls | None = None,
    idle: bool = True,
    room: int | None = None,
    hide: bool = False,
) -> Wrapped:
    """The runner with the job's command as its argument.

    `state_dir` is a folder that outlives a restart of the container: with it the output and the
    end of a run are told again after one; without it, the command is not run a second time as
    long as the container's own files are there, or those in `marks_dir`: a small folder, in which
    nothing of the output is kept. `idle` is false where the network ends the lease
    when the container exits. `room` is how many bytes the log may have as the network's JSON: what
    goes beyond is not printed, and said to be cut. With `hide`, secrets are told apart (see
    `hand_over`).

    Raises:
        Unsuitable: the job leaves its command to the image, which nobody here can read.
    """
    if not spec.command:
        raise Unsuitable(
            "this network needs the job's `command`: the one inside the image cannot be wrapped"
        )
    urls = urls or RunnerUrls()
    packed = bool(spec.outputs) and (urls.outputs is not None or hide)
    own = {
        "TOKEN": token(key),
        "KEY": key,
        "IDLE": "1" if idle else "0",
        "STATE": state_dir,
        "MARKS": marks_dir,
        "WORKDIR": spec.workdir,
        "OUTPUTS": outputs_word(spec.outputs) if packed else None,
        "INPUTS_URL": urls.inputs if spec.inputs else None,
        "OUTPUTS_URL": urls.outputs if packed else None,
        "RESULT_URL": urls.result,
        "ROOM": None if room is None else str(room),
    }
    control = {f"{_PREFIX}{name}": value for name, value in own.items() if value}
    job = carried((*spec.command, *spec.args), spec.environment())
    parts = ["room", "handover"] if room is not None or hide else []
    if packed:
        parts.append("outputs")
    argv = ("/bin/sh", "-c", script(*parts), "cortex-runner", *job.words)
    secrets = spec.secrets() if hide else {}
    hidden = {
        name: text
        for name, text in job.env.items()
        if name in secrets or (name not in spec.env and text.partition("=")[0] in secrets)
    }
    plain = {name: text for name, text in job.env.items() if name not in hidden}
    return Wrapped(argv=argv, env={**plain, **control}, hidden=hidden)


def token(key: str) -> str:
    """The mark of the runner's own lines; the same in every process that knows the key."""
    return hashlib.sha256(f"cortex-runner:{key}".encode()).hexdigest()[:16]


@cache
def script(*parts: str) -> str:
    """The runner with these parts of its own, without comments: some networks limit a command."""
    text = files("providers.runner").joinpath("runner.sh").read_text(encoding="utf-8")
    lines, wanted = [], True
    for line in text.splitlines():
        if line == _PACKING and wanted:
            lines += packing().splitlines()
        elif line.startswith(_PART):
            wanted = line.removeprefix(_PART) in parts
        elif line == _END:
            wanted = True
        elif wanted and line.strip() and not line.lstrip().startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"
