"""The schema, and how an operation is carried out against it."""

import sys
from collections.abc import Iterator
from typing import Final

import strawberry
from graphql import GraphQLError, GraphQLSchema
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from api.graphql.access import check_schema
from api.graphql.errors import log_unexpected
from api.graphql.mutations import Mutation
from api.graphql.queries import Query
from api.graphql.scalars import SCALARS, value_of
from api.graphql.subscriptions import Subscription


class _Prepared(SchemaExtension):
    """The document was parsed, measured and checked before."""

    def on_parse(self) -> Iterator[None]:
        self.execution_context.graphql_document = self.execution_context.context.document
        self.execution_context.validation_rules = ()
        yield


class _Schema(strawberry.Schema):
    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Unexpected ones are logged; those that are told are answers like others."""
        log_unexpected(errors)


SCHEMA: Final = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=[_Prepared],
    config=StrawberryConfig(default_resolver=value_of, scalar_map=SCALARS),
)
CORE: Final[GraphQLSchema] = SCHEMA._schema
check_schema(CORE)


def text() -> str:
    """The schema in its own language, as `docs/schema.graphql` has it."""
    return f"{SCHEMA.as_str()}\n"


if __name__ == "__main__":
    sys.stdout.write(text())
