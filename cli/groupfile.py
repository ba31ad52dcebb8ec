"""Group files: read, checked as far as this machine can, errors with line and column."""

from pydantic import ValidationError

from cli.errors import BadInput
from cli.specfile import Document, load_whole
from cortex.client import ApiError
from cortex.domain.errors import FieldError, InvalidRequest, field_errors
from cortex.domain.groups import GroupSpec, Member, expand

_SHOWN = 20


def load_group(path: str) -> tuple[Document, GroupSpec, list[Member]]:
    """A group file and the members it makes.

    Raises:
        BadInput: it cannot be read, or is no valid group.
    """
    document = load_whole(path)
    try:
        spec = GroupSpec.model_validate(document.data)
    except ValidationError as error:
        raise _refused(document, field_errors(error)) from None
    try:
        return document, spec, expand(spec)
    except InvalidRequest as error:
        raise _refused(document, list(error.errors)) from None


def placed(error: ApiError, document: Document) -> Exception:
    """The server's refusal with the places in the file that it speaks of."""
    if error.code == "invalid_request" and error.errors:
        return _refused(document, list(error.errors), "the server refuses this")
    if error.code in ("no_provider", "over_budget") and error.errors:
        return _refused(document, list(error.errors), error.detail.partition(". ")[0])
    return error


def _refused(document: Document, errors: list[FieldError], what: str | None = None) -> BadInput:
    lines = [document.place(item) for item in errors[:_SHOWN]]
    if len(errors) > _SHOWN:
        lines.append(f"and {len(errors) - _SHOWN} more")
    return BadInput(what or f"{document.source} is no valid group", details=lines)
