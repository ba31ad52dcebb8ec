"""The two jobs of a verification, and what the first one must print and leave behind."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any, Literal

from cortex.domain.money import Money
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration

EXIT_CODE = 7
FOLDER = "cortex-verify"
FILE = f"{FOLDER}/result.bin"
LABEL = "cortex.verify"
"""Of every job of a verification; its value is the provider's id."""
LABEL_ID = "cortex.verify.id"
LABEL_RUN = "cortex.verify.run"
_MANY = 40
_PATTERN = "0123456789abcdef"
_LONG = 16384
_UTF8 = "Grüße, 你好, ∑, 😀"
_LONGEST_SEARCH = timedelta(minutes=5)
_HALF = Decimal("0.5")
_HOUR = Decimal(3600)

Run = Literal["command", "stop"]
Line = tuple[str, str]
"""Stream and text."""


@dataclass(frozen=True)
class Plan:
    """What is run, and what it may cost: half of the budget for each of the two jobs."""

    id: str
    provider_id: str
    trial: Trial
    budget: Money
    duration: timedelta
    image: str | None
    outputs: bool = True

    @property
    def mark(self) -> str:
        """Begins every line of this verification."""
        return f"cortex-verify-{self.id}"

    def share(self) -> Money:
        """The budget of one job."""
        return Money(amount=self.budget.amount * _HALF, currency=self.budget.currency)

    def max_price(self) -> Money:
        """The price per hour at which a job that takes its whole time costs its share."""
        hours = Decimal(self.duration // timedelta(seconds=1)) / _HOUR
        amount = (self.share().amount / hours).quantize(Decimal("0.000001"), rounding=ROUND_DOWN)
        return Money(amount=amount, currency=self.budget.currency)

    def spec(self, run: Run) -> JobSpec:
        """The job. Nothing of it is tried twice: what goes wrong is to be seen."""
        script = command_script(self.mark) if run == "command" else _stop_script(self)
        body: dict[str, Any] = {
            "name": f"verify-{self.provider_id[:40].rstrip('-')}-{run}",
            "image": self.image,
            "command": ["sh", "-c", script],
            "resources": self.trial.resources,
            "duration": self.duration,
            "retries": {"on_failure": 0, "on_lost": 0},
            "budget": self.share(),
            "placement": {
                "providers": [self.provider_id],
                "max_price": self.max_price(),
                "timeout": min(self.duration, _LONGEST_SEARCH),
            },
            "outputs": [FOLDER] if run == "command" and self.outputs else [],
            "labels": {LABEL: self.provider_id, LABEL_ID: self.id, LABEL_RUN: run},
        }
        return JobSpec.model_validate(body)

    def describe(self) -> str:
        """For people, before it is run."""
        what = f"in `{self.image}`" if self.image else "as a plain process"
        return f"two small jobs {what}, at most {format_duration(self.duration)} each"


def command_script(mark: str) -> str:
    """Prints known lines on both streams, writes a file of known bytes, ends with 7. POSIX."""
    return "\n".join(
        (
            f"m={mark}",
            f"l={_PATTERN}",
            f"while [ ${{#l}} -lt {_LONG} ]; do l=$l$l; done",
            'echo "$m out 1 plain"',
            'echo "$m err 1 plain" >&2',
            f'echo "$m out 2 {_UTF8}"',
            f'echo "$m err 2 {_UTF8}" >&2',
            'echo "$m out 3 $l"',
            f'i=4; while [ $i -lt {_MANY} ]; do echo "$m out $i"; i=$((i+1)); done',
            f"mkdir -p {FOLDER}",
            r"""{ printf '\000\001\376\377\r\n'; printf '%s' "$l$l$l$l"; } > """ + FILE,
            'echo "$m err 3 last" >&2',
            f'echo "$m out {_MANY} last"',
            f"exit {EXIT_CODE}",
        )
    )


def command_lines(mark: str) -> list[Line]:
    """What `command_script` prints: stdout in its order, then stderr in its order."""
    long = _PATTERN * (_LONG // len(_PATTERN))
    out = [f"{mark} out 1 plain", f"{mark} out 2 {_UTF8}", f"{mark} out 3 {long}"]
    out += [f"{mark} out {number}" for number in range(4, _MANY)]
    out.append(f"{mark} out {_MANY} last")
    err = [f"{mark} err 1 plain", f"{mark} err 2 {_UTF8}", f"{mark} err 3 last"]
    return [*(("stdout", text) for text in out), *(("stderr", text) for text in err)]


def command_file() -> bytes:
    """What `command_script` writes: bytes that are no text, and more than a pipe holds."""
    return b"\x00\x01\xfe\xff\r\n" + 4 * (_PATTERN * (_LONG // len(_PATTERN))).encode()


def command_digest() -> str:
    return hashlib.sha256(command_file()).hexdigest()


def log_differences(mark: str, seen: Sequence[Line]) -> list[str]:
    """How the lines of a log differ from those that were printed; empty: not at all.

    Lines without the mark are the network's own, and do not count.
    """
    wanted = command_lines(mark)
    ours = [(stream, text) for stream, text in seen if text.startswith(mark)]
    if not ours:
        return [f"none of the {len(wanted)} lines is there"]
    differences: list[str] = []
    for stream in ("stdout", "stderr"):
        want = [text for of, text in wanted if of == stream]
        mine = [(of, text) for of, text in ours if _printed_on(of, text) == stream]
        differences += _compared(stream, want, [text for _, text in mine])
        strays = sum(of != stream for of, _ in mine)
        if strays:
            differences.append(
                f"{strays} of the {len(want)} lines of {stream} came on the other stream"
            )
    return differences


def _printed_on(seen_on: str, text: str) -> str:
    """The stream that a line was printed on: it says so itself, unless it was damaged."""
    word = text.split(" ")[1:2]
    return {"out": "stdout", "err": "stderr"}.get(word[0] if word else "", seen_on)


def _compared(stream: str, want: Sequence[str], have: Sequence[str]) -> list[str]:
    if list(want) == list(have):
        return []
    missing = [text for text in want if text not in have]
    extra = [text for text in have if text not in want]
    differences = []
    if missing:
        differences.append(
            f"{len(missing)} of {len(want)} lines of {stream} missing: {_first(missing)}"
        )
    if extra:
        differences.append(f"{len(extra)} lines of {stream} not as printed: {_first(extra)}")
    known = [text for text in have if text in want]
    if len(known) != len(set(known)):
        differences.append(f"{len(known) - len(set(known))} lines of {stream} come twice")
    once = list(dict.fromkeys(known))
    if once != [text for text in want if text in once]:
        differences.append(f"the lines of {stream} are out of order")
    return differences


def _first(texts: Sequence[str]) -> str:
    text = " ".join(texts[0].split(" ")[1:])
    return f"`{text}`" if len(text) <= 80 else f"`{text[:60]}…` ({len(text)} characters)"


def _stop_script(plan: Plan) -> str:
    """Runs for longer than it may: only a cancel, or the deadline, ends it."""
    seconds = 2 * (plan.duration // timedelta(seconds=1))
    return f'echo "{plan.mark} ready"; exec sleep {seconds}'
