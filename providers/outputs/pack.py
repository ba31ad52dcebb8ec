"""What is run in a job's container to pack its result files."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from cortex.domain.patterns import packed_form


@cache
def packing() -> str:
    """The functions of `pack.sh` without its comments: some networks limit a command."""
    text = files("providers.outputs").joinpath("pack.sh").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return "\n".join(lines) + "\n"


def outputs_word(paths: Sequence[str]) -> str:
    """The declared outputs as `$outputs` of that script; empty if none can be packed."""
    return packed_form(tuple(paths))
