"""Result files: list and download."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import Header, Query
from starlette.responses import FileResponse, Response, StreamingResponse

from api.access import needs
from api.openapi import problems
from api.params import JobId
from api.respond import answer
from api.routing import api_router
from api.services import Using
from api.tar import tar_stream
from cortex.domain.rights import Action
from cortex.schemas.jobs import LeftOutView, OutputView

router = api_router("outputs")


@router.get(
    "/jobs/{job_id}/outputs",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=list[OutputView],
    responses=problems(404),
)
async def list_outputs(
    job_id: JobId,
    services: Using,
    archive: Annotated[
        Literal["tar"] | None, Query(description="All files as one archive instead.")
    ] = None,
) -> Response:
    """The files and empty folders that a job has left, or one archive with all of them."""
    if archive is None:
        outputs = await services.queries.outputs(job_id)
        return answer([output.model_dump(mode="json") for output in outputs])
    files = await services.queries.archive(job_id)
    name = quote(f"{job_id}.tar")
    return StreamingResponse(
        tar_stream(files),
        media_type="application/x-tar",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/jobs/{job_id}/left-out",
    dependencies=[needs(Action.JOBS_READ)],
    response_model=list[LeftOutView],
    responses=problems(404),
)
async def list_left_out(job_id: JobId, services: Using) -> Response:
    """What the job declared as outputs and is not kept, with its reason."""
    left_out = await services.queries.left_out(job_id)
    return answer([each.model_dump(mode="json") for each in left_out])


@router.head(
    "/jobs/{job_id}/outputs/{path:path}",
    dependencies=[needs(Action.JOBS_READ)],
    include_in_schema=False,
)
@router.get(
    "/jobs/{job_id}/outputs/{path:path}",
    dependencies=[needs(Action.JOBS_READ)],
    response_class=FileResponse,
    responses=problems(404),
)
async def get_output(
    job_id: JobId,
    path: str,
    services: Using,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One file. `ETag` is its SHA-256; parts can be asked for with `Range`."""
    output, place = await services.queries.output(job_id, path)
    etag = f'"{output.sha256}"'
    headers = {"etag": etag, "cache-control": "private, no-cache"}
    if if_none_match and etag in [
        tag.strip().removeprefix("W/") for tag in if_none_match.split(",")
    ]:
        return Response(status_code=304, headers=headers)
    return FileResponse(
        place, filename=place.name, media_type="application/octet-stream", headers=headers
    )
