"""One operation from its request to its answer, over HTTP or a WebSocket."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, OperationType, get_operation_ast
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.graphql.context import Context
from api.graphql.documents import Documents, InvalidOperation
from api.graphql.errors import cause_of, error_row, problem_row
from api.graphql.limits import MAX_VALUE_DEPTH, TooComplex, check_cost
from api.graphql.schema import CORE, SCHEMA
from api.problems import MalformedBody
from cortex.domain.errors import CortexError, Forbidden, InvalidRequest
from cortex.services.audit.denials import Attempt


class Asking(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    query: str | None = None
    operation_name: str | None = Field(default=None, alias="operationName", max_length=200)
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


class Operation:
    """A request that may be carried out.

    Attributes:
        kind: Query, mutation or subscription.
    """

    def __init__(self, request: Asking, documents: Documents) -> None:
        """Read and measure it.

        Raises:
            CortexError: it is not taken; nothing was read.
        """
        self._request = request
        self.variables = request.variables or {}
        _check_values(self.variables)
        self.text, self._document = documents.find(request.query, request.extensions or {})
        definition = get_operation_ast(self._document, request.operation_name)
        if definition is None:
            raise InvalidRequest(_which(request.operation_name))
        check_cost(CORE, self._document, definition, self.variables)
        self._definition: OperationDefinitionNode = definition
        self.kind: OperationType = definition.operation

    async def run(self, context: Context) -> dict[str, Any]:
        """The answer to a query or a mutation."""
        context.document = self._document
        result = await SCHEMA.execute(
            self.text,
            variable_values=self.variables,
            context_value=context,
            operation_name=self._request.operation_name,
        )
        return answered(context, result.data, result.errors)

    async def follow(self, context: Context) -> AsyncGenerator[Any, None]:
        """The answers to a subscription, as they come."""
        context.document = self._document
        results: Any = await SCHEMA.subscribe(
            self.text,
            variable_values=self.variables,
            context_value=context,
            operation_name=self._request.operation_name,
        )
        found: AsyncGenerator[Any, None] = results
        return found


def read_request(value: Any) -> Asking:
    """A request from the JSON of a body or message.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(value, dict):
        raise MalformedBody("the request must be an object with `query` and `variables`")
    try:
        return Asking.model_validate(value)
    except ValidationError as error:
        raise InvalidRequest.from_validation(error, "the request") from None


def answered(context: Context, data: Any, errors: list[GraphQLError] | None) -> dict[str, Any]:
    """An answer as GraphQL has it; what was denied goes into the audit log."""
    answer: dict[str, Any] = {"data": data}
    if errors:
        answer["errors"] = [error_row(error) for error in errors]
        for error in errors:
            note_denial(context, cause_of(error), error.path)
    return answer


def refused(error: CortexError) -> dict[str, Any]:
    """The answer to a request that is not carried out."""
    if isinstance(error, InvalidOperation):
        return {"errors": [error_row(each) for each in error.graphql_errors]}
    return {"errors": [problem_row(error)]}


def note_denial(context: Context, error: CortexError | None, path: Any) -> None:
    """For the audit log."""
    if isinstance(error, Forbidden):
        place = ".".join(str(part) for part in path or () if isinstance(part, str))
        attempt = Attempt(context.by, error.action, f"GRAPHQL {place[:200]}", error.detail)
        context.services.denials.note(attempt)


def _which(name: str | None) -> str:
    if name is None:
        return "the request has not exactly one operation: name one by `operationName`"
    return f"there is no operation `{name[:60]}` in the request"


def _check_values(variables: Mapping[str, Any]) -> None:
    """No text of a database holds a NUL character, and no value is as deep as this."""
    level: list[Any] = [variables]
    for _ in range(MAX_VALUE_DEPTH + 1):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, str) and "\0" in value:
                raise InvalidRequest("the variables contain a NUL character")
            if isinstance(value, dict):
                deeper += [*value, *value.values()]
            elif isinstance(value, list):
                deeper += value
        if not deeper:
            return
        level = deeper
    raise TooComplex(f"the variables are deeper than {MAX_VALUE_DEPTH} levels")
