"""Answers from plain values and models, without validating them a second time."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from cortex.domain.errors import NotFound
from cortex.domain.ids import is_job_id
from cortex.services.views import render


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of a model, of plain values, or JSON already (as text)."""
    if isinstance(value, BaseModel):
        content: str | bytes = value.model_dump_json()
    else:
        content = value if isinstance(value, str) else render(value)
    return Response(content, status_code=status, media_type="application/json", headers=headers)


def known_form(job_id: str) -> str:
    """The job id, if it looks like one.

    Raises:
        NotFound: nothing can have such an id.
    """
    if not is_job_id(job_id):
        raise NotFound(f"there is no job `{job_id[:60]}`")
    return job_id
