"""What a field needs: every field of GraphQL stands under an action, or the server does not start.

A field with `guarded` is resolved for those only who may do its action; all else of a type may be
seen by whoever may do the action that the type is marked with. `check_schema` makes sure that
nobody comes to a type by a field of another action.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import strawberry
from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, get_named_type
from strawberry.extensions import FieldExtension
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from api.access import require
from api.graphql.context import Asked
from api.graphql.scalars import Row
from cortex.domain.rights import Action

T = TypeVar("T", bound=type)

_SHOWN: Final[dict[type, Action | None]] = {}
_STRAWBERRY: Final = "strawberry-definition"


class Unguarded(Exception):
    """A field or a type of the schema stands under no action, or under two."""


class Needs(FieldExtension):
    """Resolves a field for those only who may do this.

    Args:
        action: What it takes.
        subjects: The arguments that may name the job or group that it is about; without one it
            narrows what it shows to what may be seen.
        inside: It is a field of a job or group: the action is about that one.
        what: What the subjects are, where they are no jobs or groups.
    """

    def __init__(
        self,
        action: Action,
        *,
        subjects: tuple[str, ...] = (),
        inside: bool = False,
        what: str | None = None,
    ) -> None:
        self.action = action
        self.subjects = subjects
        self.inside = inside
        self.what = what

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: Any, **arguments: Any
    ) -> Any:
        await self.check(source, info, arguments)
        result = next_(source, info, **arguments)
        # That of a subscription is no awaitable: it gives one event after the other.
        return await result if inspect.isawaitable(result) else result

    async def check(self, source: Row | None, info: Asked, arguments: dict[str, Any]) -> None:
        """Go on only if it is allowed.

        Raises:
            NotFound: there is no such job or group, or none that one may know of.
            Forbidden: it may not be done.
        """
        by, services = info.context.by, info.context.services
        if self.inside:
            assert source is not None
            by.require(self.action, owner=source["owner"], project=source["project"])
            return
        given = [arguments[name] for name in self.subjects if arguments.get(name) is not None]
        named = [each for one in given for each in (one if isinstance(one, list) else [one])]
        for subject in named or [None]:
            await require(by, self.action, subject, services.ownership, self.what)


def guarded(
    action: Action,
    kind: Any,
    description: str,
    *,
    subjects: tuple[str, ...] = (),
    inside: bool = False,
    live: bool = False,
    what: str | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """A field with a resolver that needs an action.

    Args:
        action: What it needs.
        kind: Its type: the resolver itself gives plain JSON.
        description: For the schema.
        subjects: See `Needs`.
        inside: See `Needs`.
        live: It gives one value after the other, as a subscription.
        what: See `Needs`.
    """
    need = Needs(action, subjects=subjects, inside=inside, what=what)
    make = strawberry.subscription if live else strawberry.field
    made: Callable[[Callable[..., Any]], Any] = make(
        graphql_type=kind, description=description, extensions=[need]
    )
    return made


def resolved(kind: Any, description: str) -> Callable[[Callable[..., Any]], Any]:
    """A field with a resolver, under the action of its type."""
    made: Callable[[Callable[..., Any]], Any] = strawberry.field(
        graphql_type=kind, description=description
    )
    return made


def shown(action: Action) -> Callable[[T], T]:
    """Mark a type: who may do this may see its fields."""

    def mark(kind: T) -> T:
        _SHOWN[kind] = action
        return kind

    return mark


def plain(kind: T) -> T:
    """Mark a type that tells nothing by itself, such as a page or an amount of money."""
    _SHOWN[kind] = None
    return kind


def needed(field: GraphQLField) -> Needs | None:
    """What a field of the schema needs by itself."""
    definition = field.extensions.get(_STRAWBERRY)
    if not isinstance(definition, StrawberryField):
        return None
    return next((each for each in definition.extensions if isinstance(each, Needs)), None)


def roots(schema: GraphQLSchema) -> Iterator[tuple[str, str, GraphQLField]]:
    """Each field that an operation begins with: its kind of operation, its name, itself."""
    kinds = {
        "query": schema.query_type,
        "mutation": schema.mutation_type,
        "subscription": schema.subscription_type,
    }
    for operation, kind in kinds.items():
        for name, field in (kind.fields if kind else {}).items():
            yield operation, name, field


def check_schema(schema: GraphQLSchema) -> None:
    """Go on only if every field stands under one action.

    Raises:
        Unguarded: one does not.
    """
    seen: set[tuple[str, Action]] = set()
    todo: list[tuple[str, GraphQLField, Action | None]] = [
        (f"{operation}.{name}", field, None) for operation, name, field in roots(schema)
    ]
    while todo:
        place, field, above = todo.pop()
        need = needed(field)
        action = need.action if need else above
        if action is None:
            raise Unguarded(f"`{place}` names no action")
        kind = get_named_type(field.type)
        if not isinstance(kind, GraphQLObjectType) or (kind.name, action) in seen:
            continue
        if _action_of(kind) not in (None, action):
            raise Unguarded(
                f"`{place}` needs `{action}` and shows a `{kind.name}`, which needs "
                f"`{_action_of(kind)}`"
            )
        seen.add((kind.name, action))
        todo += [(f"{kind.name}.{name}", each, action) for name, each in kind.fields.items()]


def _action_of(kind: GraphQLObjectType) -> Action | None:
    definition = kind.extensions.get(_STRAWBERRY)
    assert isinstance(definition, StrawberryObjectDefinition)
    origin = definition.concrete_of.origin if definition.concrete_of else definition.origin
    if origin not in _SHOWN:
        raise Unguarded(f"the type `{kind.name}` names no action")
    return _SHOWN[origin]
