"""How large a job is on its way to a network, where command and variables travel as one text."""

import json
import shlex
import zlib
from collections.abc import Callable, Iterable
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.conditions.rewriting import is_rewritten
from cortex.domain.conditions.shell import ascii_word, odd_names
from cortex.domain.patterns import packed_form
from cortex.domain.spec import JobSpec

Form = Literal["shell", "ascii", "json", "shell-json", "yaml", "zlib"]
_ODD: Final = 64  # for each variable whose name no shell can hold, and what carries it
_CARRIER: Final = 160
_SHORT: Final = {"\n", "\t", "\r", "\0", "\a", "\b", "\v", "\f", "\x1b", '"', "\\"}


class Packing(BaseModel):
    """One text that a job's command and variables are put into, and its limit in bytes.

    What is reckoned is never less than what a network is really given.
    """

    model_config = ConfigDict(frozen=True)

    what: str = Field(description="The text and who limits it, such as `one word, and the kernel`.")
    limit: int = Field(description="Bytes that it may have at most.")
    overhead: int = Field(default=0, description="Bytes of it that Cortex adds to every job.")
    form: Form = Field(description="How each word and variable is written.")
    words: bool = Field(default=True, description="The command is in it, not the variables alone.")
    secrets: bool = Field(default=True, description="The secret variables are in it as well.")
    only_rewritten: bool = Field(
        default=False,
        description="Made only where a node would rewrite something (JSON, `%%`); of variables "
        "only those are in it.",
    )

    def objection(self, spec: JobSpec) -> str | None:
        """Why a job does not fit, in words; None if it does."""
        if self.only_rewritten and not any(map(is_rewritten, _all(spec))):
            return None
        size = self.size(spec)
        if size <= self.limit:
            return None
        fields = ["command", "args"] if self.words else []
        fields += ["env", "secret_env"] if self.secrets else ["env"]
        names = ", ".join(f"`{name}`" for name in fields)
        return (
            f"{names} travel in {self.what} takes at most {self.limit:,} bytes; with what Cortex "
            f"adds it would be {size:,}: pass large data as a file"
        )

    def size(self, spec: JobSpec) -> int:
        """Bytes of the text for this job: as much or a little more than it will be."""
        words = [*spec.command, *spec.args] if self.words else []
        env = self._env(spec)
        if self.form == "zlib":
            return self._packed(words, env) + self.overhead
        write, (word, variable) = _WRITTEN[self.form], _AROUND[self.form]
        odd = odd_names(env)
        return (
            self.overhead
            + sum(write(text) + word for text in words)
            + sum(write(text) + len(name) + variable for name, text in env.items())
            + (_CARRIER + _ODD * len(odd) if odd else 0)
        )

    def _env(self, spec: JobSpec) -> dict[str, str]:
        carried = spec.environment() if self.secrets else dict(spec.env)
        if self.only_rewritten:
            odd = set(odd_names(carried))
            carried = {
                name: text for name, text in carried.items() if name in odd or is_rewritten(text)
            }
        # These travel as variables of the runner, or beside them.
        carried["workdir"], carried["outputs"] = spec.workdir or "", packed_form(spec.outputs)
        return carried | {
            f"volume{number}": volume.path for number, volume in enumerate(spec.volumes)
        }

    def _packed(self, words: list[str], env: dict[str, str]) -> int:
        names = list(env)
        text = json.dumps([words, names, list(env.values())])
        if odd_names(names):
            text += json.dumps([names] * 3)
        # Short enough without being made smaller: saves the work for nearly all jobs.
        if _base64(len(text)) + self.overhead <= self.limit:
            return _base64(len(text))
        size = len(zlib.compress(text.encode(), 9))
        # Beside other text it becomes up to a block's code longer than by itself.
        return _base64(size + size // 64 + 1024)


def _all(spec: JobSpec) -> Iterable[str]:
    joined = packed_form(spec.outputs)
    return (*spec.command, *spec.args, *spec.environment().values(), spec.workdir or "", joined)


def _base64(size: int) -> int:
    return (size + 64) * 4 // 3


def _shell(text: str) -> int:
    return len(shlex.quote(text).encode()) + 2 * text.count("%%")


def _json(text: str) -> int:
    return len(json.dumps(text))


def _yaml(text: str) -> int:
    """In double quotes, as PyYAML writes it (`write_double_quoted`), with each `$` twice."""
    if text.isascii() and text.isprintable():
        return len(text) + text.count("$") + text.count('"') + text.count("\\") + 2
    return sum(map(_yaml_char, text)) + 2


def _yaml_char(char: str) -> int:
    if char == "$" or char in _SHORT:
        return 2
    if " " <= char <= "~" or "\u00a1" <= char <= "\ud7ff" or "\ue000" <= char <= "\ufefe":
        return 1 if char not in "\u2028\u2029" else 6
    return 10 if char > "\uffff" else 6


_WRITTEN: Final[dict[str, Callable[[str], int]]] = {
    "shell": _shell,
    "ascii": lambda text: len(ascii_word(text)),
    "json": _json,
    "shell-json": lambda text: _json(shlex.quote(text)) + 2 * text.count("%%"),
    "yaml": _yaml,
}
# What stands around a word, and around a variable beside its name: `export`, `=`, indentation.
_AROUND: Final[dict[str, tuple[int, int]]] = {
    "shell": (1, 9),
    "ascii": (1, 9),
    "json": (2, 4),
    "shell-json": (4, 12),
    "yaml": (16, 18),
}
