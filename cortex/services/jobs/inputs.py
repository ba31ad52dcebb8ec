"""Whether the files that single jobs ask for are there: outputs of jobs that have ended."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from cortex.db.engine import Reading
from cortex.domain.errors import FieldError, InvalidRequest, NotFound
from cortex.domain.ids import is_job_id
from cortex.domain.spec import JobSpec
from cortex.domain.spec.inputs import Input, both_put, placed
from cortex.domain.states import TERMINAL_JOB_STATES


async def require_inputs(
    tx: Reading,
    specs: Sequence[JobSpec],
    *,
    batch: bool = False,
    seen: frozenset[str] | None = None,
) -> None:
    """Go on only if the inputs of all these jobs can be had.

    Args:
        tx: To look with.
        specs: The jobs.
        batch: They came together: an error names the job by its index.
        seen: The projects from whose jobs they may be; None: from all.

    Raises:
        InvalidRequest: one cannot; says why.
    """
    for index, spec in enumerate(specs):
        for number, wanted in enumerate(spec.inputs):
            problem = await _problem(tx, wanted, seen)
            if problem is not None:
                before = f"jobs[{index}]." if batch else ""
                where = f"{before}inputs[{number}].{problem[0]}"
                raise _invalid(where, problem[1])
        twice = await _twice(tx, spec.inputs)
        if twice is not None:
            before = f"jobs[{index}]." if batch else ""
            raise _invalid(f"{before}inputs[{twice[0]}].to", twice[1])


def _invalid(where: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the job spec is not valid: `{where}` {message}",
        errors=[FieldError(field=where, message=message)],
    )


async def _twice(tx: Reading, inputs: Sequence[Input]) -> tuple[int, str] | None:
    """The input that would put a file in the place of another one, and why that cannot be."""
    there: dict[str, tuple[str, str]] = {}
    if len(inputs) < 2:
        return None
    kept = {source: await tx.outputs.of_job(source) for source in {i.source for i in inputs}}
    for number, wanted in enumerate(inputs):
        for output in kept[wanted.source]:
            name = placed(wanted, output.path)
            if name is None or output.kind != "file":
                continue
            source, digest = there.setdefault(name, (wanted.source, output.sha256))
            if digest != output.sha256:
                return number, both_put(name, source, wanted.source)
    return None


async def _problem(
    tx: Reading, wanted: Input, seen: frozenset[str] | None
) -> tuple[str, str] | None:
    """The field that is wrong and what is wrong with it."""
    source = wanted.source
    if not is_job_id(source):
        return "from", f"`{source[:60]}` must be the id of a job; names are for members of a group"
    try:
        await tx.reads.require(source, seen)
        state = (await tx.reads.state(source))["state"]
    except NotFound:
        return "from", f"there is no job `{source}`"
    if state not in TERMINAL_JOB_STATES:
        return "from", f"job `{source}` is `{state}`; its outputs are there when it has ended"
    kept = [output.path for output in await tx.outputs.of_job(source)]
    if not kept:
        return "from", f"job `{source}` kept no outputs"
    if wanted.path is not None and not any(
        PurePosixPath(path).is_relative_to(wanted.path) for path in kept
    ):
        shown = ", ".join(f"`{path}`" for path in kept[:5])
        return "path", f"job `{source}` kept no `{wanted.path}`; it kept {shown}"
    return None
