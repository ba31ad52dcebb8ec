"""Group files: read, checked as far as this machine can, errors with line and column."""

from pydantic import ValidationError

from cli.errors import BadInput
from cli.specfile import Document, load_whole
from cortex.client import ApiError
from cortex.domain.errors import FieldError, InvalidRequest, field_errors
from cortex.domain.groups.expand import ExpandedJob, GroupSpec, expand


def load_group(path: str) -> tuple[Document, GroupSpec, list[ExpandedJob]]:
    """A group file and the members it makes.

    Raises:
        BadInput: it cannot be read, or is no valid group.
    """
    return checked(load_whole(path, GroupSpec))


def checked(document: Document) -> tuple[Document, GroupSpec, list[ExpandedJob]]:
    """The same of a document that has been read; see `load_group`."""
    try:
        spec = GroupSpec.model_validate(document.data)
    except ValidationError as error:
        raise _refused(document, field_errors(error)) from None
    try:
        members = expand(spec)
    except InvalidRequest as error:
        raise _refused(document, list(error.errors)) from None
    if document.nul is not None:
        nul = FieldError(field=document.nul, message="contains a NUL character")
        raise _refused(document, [nul])
    return document, spec, members


def placed(error: ApiError, document: Document) -> Exception:
    """The server's refusal with the places in the file that it speaks of."""
    if error.code == "invalid_request" and error.errors:
        return _refused(document, list(error.errors), "the server refuses this")
    if error.code in ("no_provider", "over_budget") and error.errors:
        return _refused(document, list(error.errors), error.detail.partition(". ")[0])
    return error


def _refused(document: Document, errors: list[FieldError], what: str | None = None) -> BadInput:
    what = what or f"{document.source} is no valid group"
    return BadInput(what, details=document.places(errors))
