"""Keeps a node from rewriting what a job says.

A node replaces `%%global.x%%` and `%%ops.x.y%%` in arguments and variables, turns an item of a list
that is JSON into what the JSON holds, and a variable that is JSON into JavaScript's text for it
(`interpolateOperation` in nosana-ci/nosana-cli). What would be met by that goes into the text of a
shell command, where nothing of it looks so.
"""

import shlex
from collections.abc import Mapping, Sequence

from cortex.domain.conditions.rewriting import LITERAL, is_rewritten
from providers.errors import Unsuitable

_SHELL = ("/bin/sh", "-c")


def shielded(
    argv: Sequence[str], env: Mapping[str, str], *, whole: bool
) -> tuple[list[str], dict[str, str]]:
    """The command and the variables, as the container is to be given them.

    `whole`: `argv` is all of the command, not the arguments of one that the image has.

    Raises:
        Unsuitable: it needs a shell around the command, and the command is the image's own.
    """
    met = {name: value for name, value in env.items() if is_rewritten(value)}
    if not met and not any(map(is_rewritten, argv)):
        return list(argv), dict(env)
    if not whole:
        where = f"`env.{min(met)}`" if met else "one of `args`"
        raise Unsuitable(
            f"{where} looks like JSON or a `%%` literal, which its nodes rewrite; give the job's "
            "`command`, so that Cortex can hand it over in another way"
        )
    lines = [f"export {name}={_quoted(met[name])}" for name in met if name.isidentifier()]
    odd = [f"{name}={value}" for name, value in met.items() if not name.isidentifier()]
    if odd:  # no shell can set these
        argv = [*argv[:4], "env", *odd, *argv[4:]] if _wraps(argv) else ["env", *odd, *argv]
    left = {name: value for name, value in env.items() if name not in met}
    if _wraps(argv):
        script, name, *rest = argv[2:]
        lines.append(" ".join(["set --", *map(_quoted, rest)]))
        return [*_SHELL, "\n".join([*lines, _split(script)]), name], left
    lines.append(" ".join(["exec", *map(_quoted, argv)]))
    return [*_SHELL, "\n".join(lines)], left


def _wraps(argv: Sequence[str]) -> bool:
    """Whether it is a script with a command as its arguments."""
    return tuple(argv[:2]) == _SHELL and len(argv) > 3


def _quoted(text: str) -> str:
    """One word for a shell, without two `%` side by side."""
    return _split(shlex.quote(text))


def _split(text: str) -> str:
    return LITERAL.sub(lambda match: f"%''%{match[1]}", text)
