"""What is run at the provider: small shell scripts around the job's own command.

A batch shows nothing of a command that still runs, and keeps the next batch waiting. So the job
runs in the background under the runner, which frames its output into a file, and later batches of
one short command each read that file from where the last one stopped: logs are live, complete and
can be resumed anywhere, without a word from the daemon's memory.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cortex.domain.conditions.kernel import MAX_ARG_STRLEN
from cortex.domain.spec import JobSpec
from providers.errors import Unsuitable
from providers.golem.config import GolemConfig
from providers.golem.sealed import SealedJob
from providers.outputs import outputs_word, packing
from providers.runner.wrap import token, wrap

_FOLDER = ".cortex"
START_LIMIT = 4096

# $1: working folder; the runner and the job's command follow. Runs once: `set -C` refuses the
# second. The pid is noted before the batch ends.
_START = """
work=$1; shift
mkdir -p "$work/{folder}" && cd "$work" || exit 120
(set -C; : >"{folder}/begun") 2>/dev/null || exit 0
trap '' HUP
{exports}
"$@" </dev/null >"{folder}/out" 2>"{folder}/err" &
printf '%s\\n' "$!" >"{folder}/pid.new" && mv "{folder}/pid.new" "{folder}/pid"
"""

# Prints one line: none, gone, live or ended, and then the log from byte $3 on; at once, or as soon
# as it has $5 bytes within $4 fifths of a second: a long look is one batch instead of many.
# The end is read before the log, so that a log with an end beside it is a whole one.
_READ = """
cd "$1/{folder}" 2>/dev/null || {{ echo none; exit 0; }}
state=$2 left=$4
while [ "$left" -gt 0 ] && [ ! -r "$state.end" ]; do
    if [ -r pid ] && IFS= read -r pid <pid; then kill -0 "$pid" 2>/dev/null || break; fi
    size=$(ls -ln "$state.log" 2>/dev/null | {{ read -r _ _ _ _ size _; echo "$size"; }})
    [ "${{size:-0}}" -ge "$5" ] && break
    if sleep 0.2 2>/dev/null; then left=$((left - 1)); else sleep 1; left=$((left - 5)); fi
done
if [ -r "$state.end" ]; then IFS= read -r end <"$state.end"; echo "ended $end"
elif [ ! -r pid ]; then echo none
elif IFS= read -r pid <pid; kill -0 "$pid" 2>/dev/null; then echo live
elif [ -r "$state.end" ]; then IFS= read -r end <"$state.end"; echo "ended $end"
else echo gone; fi
[ -r "$state.log" ] || exit 0
tail -c +"$3" "$state.log"
"""

_STOP = """
cd "$1/{folder}" 2>/dev/null || exit 0
if [ -r pid ] && [ ! -r "$2.end" ]; then IFS= read -r pid <pid; kill -TERM "$pid" 2>/dev/null; fi
exit 0
"""

# $1 folder of the state, $2 the job's folder, $3 what is declared. Prints the size of the archive.
_PACK = """
out=$1/{folder}/outputs.tar
cd "$2" 2>/dev/null || { echo 0; exit 0; }
outputs=$3
if command -v gzip >/dev/null 2>&1; then
    (pack "$1/{folder}/outputs") | gzip -1 >"$out"
else
    (pack "$1/{folder}/outputs") >"$out"
fi
[ -s "$out" ] || { echo 'the files cannot be packed' >&2; exit 122; }
wc -c <"$out"
"""


def start_script(env: Mapping[str, str]) -> str:
    """The one word of a shell command that sets a job's variables and starts it."""
    exports = "\n".join(f"export {name}={shlex.quote(text)}" for name, text in env.items())
    # Braces of the job's own variables are no fields of the template.
    return _START.replace("{folder}", _FOLDER).replace("{exports}", exports)


@dataclass(frozen=True)
class Guest:
    """The commands for one lease, as words of a `run`."""

    config: GolemConfig
    key: str

    @property
    def work(self) -> str:
        return self.config.work_dir

    @property
    def state_dir(self) -> str:
        """Where the runner keeps what it knows."""
        return f"{self.work}/{_FOLDER}"

    @property
    def archive(self) -> str:
        return f"{self.state_dir}/outputs.tar"

    def job(self, spec: JobSpec) -> SealedJob:
        """What is to be run of a job.

        Raises:
            Unsuitable: it has no command, or its variables are too long for the kernel.
        """
        folder = spec.workdir or self.work
        wrapped = wrap(
            spec.model_copy(update={"workdir": folder, "outputs": ()}),
            self.key,
            state_dir=self.state_dir,
        )
        made = SealedJob(argv=wrapped.argv, workdir=folder, env=dict(wrapped.env))
        if len(start_script(made.env).encode()) >= MAX_ARG_STRLEN:
            raise Unsuitable(
                "the variables of this job (`env`, `secret_env`) are too large for one word of a "
                "shell command; pass large data as a file"
            )
        return made

    def batch(self, job: SealedJob) -> list[dict[str, Any]]:
        """The one batch that starts everything. Finished once the job's process is there."""
        deploy: dict[str, Any] = {}
        if self.config.declare_volume:
            deploy = {"volumes": [self.work]}
        words = ["-c", start_script(job.env), "cortex", self.work, *job.argv]
        capture = {
            "stdout": {"atEnd": {"tail": START_LIMIT}},
            "stderr": {"atEnd": {"tail": START_LIMIT}},
        }
        run = {"entry_point": "/bin/sh", "args": words, "capture": capture}
        return [{"deploy": deploy}, {"start": {"args": []}}, {"run": run}]

    def read(self, offset: int, wait: float = 0, known: int = 0) -> list[str]:
        """How the job does, and its log from this byte on; it waits for more than is known."""
        numbers = (offset + 1, round(wait * 5), max(offset, known) + 1)
        return self._shell(_READ, self.work, self._state, *map(str, numbers))

    def stop(self) -> list[str]:
        """Ask the job to end."""
        return self._shell(_STOP, self.work, self._state)

    def pack(self, folder: str, paths: Sequence[str]) -> list[str]:
        """Pack declared outputs; prints the archive's size."""
        script = packing() + _PACK.replace("{folder}", _FOLDER)
        words = (self.work, folder or self.work, outputs_word(paths))
        return ["/bin/sh", "-c", script, "cortex", *words]

    def piece(self, offset: int) -> list[str]:
        """The archive from this byte on."""
        return ["/bin/sh", "-c", 'tail -c +"$1" "$2"', "cortex", str(offset + 1), self.archive]

    @property
    def _state(self) -> str:
        """The beginning of the names of the runner's own files."""
        return f"{self.state_dir}/.cortex-{self.key}"

    def _shell(self, script: str, *words: str) -> list[str]:
        return ["/bin/sh", "-c", script.format(folder=_FOLDER), "cortex", *words]

    def end_line(self, words: str) -> str:
        """The runner's last word, as it would have printed it."""
        # A runner of an earlier Cortex, in a lease that still runs, did not say how.
        how = "end " if words[:1].isdigit() else ""
        return f"c {token(self.key)} {how}{words}"
