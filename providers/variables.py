"""Variables with names that no shell can hold, such as `discovery.type`.

A shell on the way to a command loses them: dash and busybox hand on only what they can name
themselves, bash hands on the rest as well. So they travel under other names, and the image's `env`
sets them just before the command.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cortex.domain.conditions.shell import odd_names
from providers.errors import Unsuitable

CARRIER = "CORTEX_VAR_"
"""How the names begin under which such variables travel."""


@dataclass(frozen=True)
class Carried:
    """A command with its variables, ready for a shell in between."""

    words: tuple[str, ...]
    env: dict[str, str] = field(repr=False)  # secrets of the job are among them


def carried(words: Sequence[str], env: Mapping[str, str]) -> Carried:
    """The same command and variables, none of which a POSIX shell drops.

    Raises:
        Unsuitable: the program's name has a `=`, which `env` would take for a variable.
    """
    odd = odd_names(env)
    if not odd:
        return Carried(tuple(words), dict(env))
    if words and "=" in words[0]:
        raise Unsuitable(
            f"the variable `{odd[0]}` cannot be given to a program with a `=` in its name"
        )
    names = [f"{CARRIER}{number}" for number in range(len(odd))]
    plain = {name: text for name, text in env.items() if name not in odd}
    plain.update((name, f"{key}={env[key]}") for name, key in zip(names, odd, strict=True))
    given = " ".join(f'"${name}"' for name in names)
    script = f'set -- {given} "$@"; unset {" ".join(names)}; exec env "$@"'
    return Carried(("/bin/sh", "-c", script, "cortex-env", *words), plain)
