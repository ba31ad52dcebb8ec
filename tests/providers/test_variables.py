"""Variables whose names no shell can hold, past the shells that images have."""

import os
import shutil
import subprocess

import pytest

from cortex.domain.spec import JobSpec
from providers.errors import Unsuitable
from providers.runner import wrap
from providers.variables import carried

SHELLS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not shutil.which(name[0]), reason=f"no {name[0]} here")
    )
    for name in (("dash",), ("bash", "--posix"), ("busybox", "sh"))
]
ENV = {"PLAIN": "p", "discovery.type": "single node", "a-b": "$HOME 'x'\n\"y\" ü", "E.": ""}
PRINT = ("python3", "-c", "import os; print({**os.environ})", "last word")


def run(shell: tuple[str, ...], words: tuple[str, ...], env: dict[str, str]) -> str:
    done = subprocess.run(
        [*shell, "-c", 'exec "$@"', "between", *words],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_they_reach_the_command(shell: tuple[str, ...]) -> None:
    job = carried(PRINT, ENV)
    told = run(shell, job.words, job.env)
    for name, text in ENV.items():
        assert f"{name!r}: {text!r}" in told
    assert "CORTEX_VAR" not in told


def test_nothing_is_done_without_need() -> None:
    job = carried(("a=b",), {"PLAIN": "p"})
    assert (job.words, job.env) == (("a=b",), {"PLAIN": "p"})


def test_no_value_stands_among_the_words() -> None:
    spec = JobSpec(command=("x",), secret_env={"api.key": "hunter2"})
    wrapped = wrap(spec, "job_1-1")
    assert "hunter2" not in " ".join(wrapped.argv)
    assert "hunter2" not in repr(wrapped)


def test_a_program_that_looks_like_a_variable() -> None:
    with pytest.raises(Unsuitable, match=r"`a\.b` cannot be given"):
        carried(("x=y",), {"a.b": "c"})
