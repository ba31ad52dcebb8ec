"""Answers from plain values and models, without validating them a second time."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from cortex.domain.errors import FieldError, InvalidRequest
from cortex.services.views import render

CSV: Final = "text/csv; charset=utf-8; header=present"


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of a model, of plain values, or JSON already (as text)."""
    if isinstance(value, BaseModel):
        content: str | bytes = value.model_dump_json()
    else:
        content = value if isinstance(value, str) else render(value)
    return Response(content, status_code=status, media_type="application/json", headers=headers)


def attached(name: str) -> dict[str, str]:
    """The header by which a browser keeps the answer as a file of this name."""
    return {"content-disposition": f'attachment; filename="{name}"'}


def labels_of(given: list[str]) -> dict[str, str]:
    """Labels from `key=value` parameters.

    Raises:
        InvalidRequest: one has another form, or a key stands there with two values.
    """
    labels: dict[str, str] = {}
    for label in given:
        key, equals, value = label.partition("=")
        if not key or not equals or labels.get(key, value) != value:
            message = f"`{label[:60]}` must be `key=value`, each key once"
            raise InvalidRequest(
                f"`label`: {message}", errors=[FieldError(field="label", message=message)]
            )
        labels[key] = value
    return labels
