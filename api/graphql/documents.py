"""Operations as text, parsed and checked once; and by their hash, where a client sends only that.

Automatic persisted queries as Apollo's clients send them: the first time with the text, later with
its SHA-256 alone. What is kept is bounded: what was not used for longest goes first.
"""

import hashlib
from collections import OrderedDict
from typing import Any, Final

from graphql import DocumentNode, GraphQLError, GraphQLSchema, parse, validate

from api.graphql.limits import MAX_TOKENS, TooComplex, check_form
from api.problems import MalformedBody
from cortex.domain.errors import CortexError, FieldError, InvalidRequest

MOST_TEXTS: Final = 1000
MOST_BYTES: Final = 16 * 1024
"""Of an operation that is kept; a longer one is taken, and parsed each time."""
MOST_PARSED: Final = 64

_MOST_ERRORS: Final = 10
_MOST_COMMENTS: Final = 200
_TOO_MANY: Final = "Syntax Error: Document contains more tha"


class PersistedQueryNotFound(CortexError):
    """The text of this hash is not known (any more): clients send it again, with the text."""

    status_code = 200  # what clients of this protocol look for
    code = "PERSISTED_QUERY_NOT_FOUND"
    title = "The operation is not known by this hash"


class InvalidOperation(InvalidRequest):
    """An operation that the schema does not allow; `rows` are its errors as GraphQL has them."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("the operation is not valid")
        self.graphql_errors = errors


class Documents:
    """The operations that were seen last."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._parsed: OrderedDict[str, DocumentNode] = OrderedDict()

    def find(self, text: str | None, extensions: dict[str, Any]) -> tuple[str, DocumentNode]:
        """The operation of a request, ready to be carried out.

        Raises:
            PersistedQueryNotFound: there is a hash only, and nobody has sent its text.
            InvalidRequest: there is neither, or they do not belong together, or it is not valid.
            TooComplex: it is larger than this server takes.
        """
        wanted = _hash(extensions)
        if text is None:
            if wanted is None:
                raise _wrong("query", "is required: the text of an operation")
            known = self._texts.get(wanted)
            if known is None:
                raise PersistedQueryNotFound("PersistedQueryNotFound")
            text = known
        mark = hashlib.sha256(text.encode()).hexdigest()
        if wanted not in (None, mark):
            raise _wrong("extensions.persistedQuery.sha256Hash", "is not the hash of the `query`")
        try:
            document = self._parsed.get(mark) or self._read(text)
        except RecursionError:
            raise TooComplex("the operation is nested too deeply") from None
        if len(text) <= MOST_BYTES:
            _remember(self._parsed, mark, document, MOST_PARSED)
            if wanted is not None:
                _remember(self._texts, mark, text, MOST_TEXTS)
        return text, document

    def _read(self, text: str) -> DocumentNode:
        try:
            document = parse(text, max_lexical_tokens=MAX_TOKENS, max_comments=_MOST_COMMENTS)
        except GraphQLError as error:
            if error.message.startswith(_TOO_MANY):
                raise TooComplex(
                    f"the operation has more than {MAX_TOKENS} words and signs"
                ) from None
            raise MalformedBody(f"the operation cannot be read: {error.message}") from None
        check_form(document)
        errors = validate(self._schema, document, max_errors=_MOST_ERRORS)
        if errors:
            raise InvalidOperation(errors)
        return document


def _hash(extensions: dict[str, Any]) -> str | None:
    asked = extensions.get("persistedQuery")
    if asked is None:
        return None
    value = asked.get("sha256Hash") if isinstance(asked, dict) else None
    if not isinstance(value, str) or asked.get("version") != 1:
        raise _wrong(
            "extensions.persistedQuery", "must have `version` 1 and `sha256Hash`, in hex digits"
        )
    return value.lower()


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the request is not valid: `{field}` {message}",
        errors=[FieldError(field=field, message=message)],
    )


def _remember(kept: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
