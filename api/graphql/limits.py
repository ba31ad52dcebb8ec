"""How large an operation may be: what it says, how deep it goes, what it may have to read.

All of it is reckoned before anything is read. Sizes of pages count as they are asked for, so an
operation that may give a million objects is refused however short it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    VariableNode,
    Visitor,
    get_named_type,
    get_nullable_type,
    is_list_type,
    visit,
)

from cortex.domain.errors import InvalidRequest

MAX_TOKENS: Final = 2000
"""Words and signs of an operation."""
MAX_DEPTH: Final = 10
"""Levels of fields, introspection aside."""
MAX_VALUE_DEPTH: Final = 50
"""Levels of lists and objects in a value, as a literal or a variable."""
MAX_ALIASES: Final = 30
"""Fields with another name, and ones that stand twice in the same place."""
MAX_ROOTS: Final = 20
"""Fields that an operation begins with."""
MAX_COST: Final = 20_000
"""Values that an answer may have: fields times the entries of the lists that they stand in."""

_PAGE: Final = "first"
_ENTRIES: Final = frozenset({"nodes", "edges"})
_LIST: Final = 5
"""Entries that a list without pages is taken to have."""
_INTROSPECTION: Final = ("__schema", "__type")


class TooComplex(InvalidRequest):
    """An operation that is larger than this server takes; nothing was read."""

    code = "query_too_complex"
    title = "The operation is too large"


class _Values(Visitor):
    """Looks at what is written out in a document."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def enter_list_value(self, *_: Any) -> None:
        self._depth += 1
        if self._depth > MAX_VALUE_DEPTH:
            raise TooComplex(f"a value of the operation is deeper than {MAX_VALUE_DEPTH} levels")

    def leave_list_value(self, *_: Any) -> None:
        self._depth -= 1

    enter_object_value, leave_object_value = enter_list_value, leave_list_value

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        if "\0" in node.value:
            raise InvalidRequest("the operation contains a NUL character")


def check_form(document: DocumentNode) -> None:
    """Go on only if the document is of a size that may be looked at more closely.

    Raises:
        TooComplex: it is too deep, or has too many aliases; its fragments may even go in circles.
        InvalidRequest: it contains a NUL character.
    """
    visit(document, _Values())
    walk = _Form(document)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            walk.measure(definition.selection_set, 1)


class _Form:
    """Measures operations, with what their fragments bring in."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = fragments_of(document)
        self._aliases = 0
        self._steps = 0

    def measure(self, selections: SelectionSetNode, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooComplex(f"the operation is deeper than {MAX_DEPTH} levels of fields")
        names: set[str] = set()
        for field in _fields(selections, self._fragments, frozenset()):
            self._steps += 1
            name = field.alias.value if field.alias else field.name.value
            self._aliases += field.alias is not None or name in names
            names.add(name)
            if self._aliases > MAX_ALIASES:
                raise TooComplex(
                    f"the operation has more than {MAX_ALIASES} aliases and repeated fields"
                )
            if self._steps > MAX_TOKENS:
                raise TooComplex(f"the operation has more than {MAX_TOKENS} fields")
            if field.selection_set and field.name.value not in _INTROSPECTION:
                self.measure(field.selection_set, depth + 1)
        if depth == 1 and len(names) > MAX_ROOTS:
            raise TooComplex(f"the operation begins with more than {MAX_ROOTS} fields")


def check_cost(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> None:
    """Go on only if the answer cannot become too large.

    Raises:
        TooComplex: it can; says how large.
    """
    kind = schema.get_root_type(operation.operation)
    if kind is None:
        return
    defaults = {
        each.variable.name.value: int(each.default_value.value)
        for each in operation.variable_definitions or ()
        if isinstance(each.default_value, IntValueNode)
    }
    reckoner = _Cost(schema, fragments_of(document), {**defaults, **variables})
    cost = reckoner.of(operation.selection_set, kind, None)
    if cost > MAX_COST:
        raise TooComplex(
            f"the operation may give {cost} values, and {MAX_COST} are the most: ask for fewer "
            "fields, or for shorter pages (`first`)"
        )


class _Cost:
    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables

    def of(self, selections: SelectionSetNode, kind: Any, page: int | None) -> int:
        """The values of an object of this type; `page`: the entries of its lists of entries."""
        total = 0
        for node in _fields(selections, self._fragments, frozenset()):
            total += 1
            field = self._field(kind, node.name.value)
            if field is None or node.selection_set is None:
                continue
            inside = get_named_type(field.type)
            times = 1
            if is_list_type(get_nullable_type(field.type)):
                times = page if page is not None and node.name.value in _ENTRIES else _LIST
            total += times * self.of(node.selection_set, inside, self._page(field, node))
        return total

    @staticmethod
    def _field(kind: Any, name: str) -> GraphQLField | None:
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            field: GraphQLField | None = kind.fields.get(name)
            return field
        return None

    def _page(self, field: GraphQLField, node: FieldNode) -> int | None:
        argument = field.args.get(_PAGE)
        if argument is None:
            return None
        for given in node.arguments or ():
            if given.name.value == _PAGE:
                value: Any = given.value
                if isinstance(value, IntValueNode):
                    return max(1, int(value.value))
                if isinstance(value, VariableNode):
                    number = self._variables.get(value.name.value)
                    if isinstance(number, int | float):
                        return max(1, int(min(number, 2**31)))
        return int(argument.default_value) if isinstance(argument.default_value, int) else 1


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """The fragments of a document by their names."""
    return {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }


def _fields(
    selections: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    inside: frozenset[str],
) -> Iterator[FieldNode]:
    """The fields of a selection, those of fragments too."""
    for each in selections.selections:
        if isinstance(each, FieldNode):
            yield each
        elif isinstance(each, InlineFragmentNode):
            yield from _fields(each.selection_set, fragments, inside)
        elif isinstance(each, FragmentSpreadNode):
            name = each.name.value
            if name in inside:
                raise TooComplex(f"the fragment `{name[:60]}` contains itself")
            fragment = fragments.get(name)
            if fragment is not None:
                yield from _fields(fragment.selection_set, fragments, inside | {name})
