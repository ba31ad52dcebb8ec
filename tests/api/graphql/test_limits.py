"""Operations that are too large are refused before anything is read, and soon."""

import time

import httpx
import pytest
from graphql import OperationDefinitionNode, parse

from api.graphql.limits import (
    MAX_ALIASES,
    MAX_COST,
    MAX_DEPTH,
    MAX_ROOTS,
    MAX_TOKENS,
    MAX_VALUE_DEPTH,
    TooComplex,
    check_cost,
    check_form,
)
from api.graphql.schema import CORE
from cortex.domain.errors import InvalidRequest
from providers.conformance import slowdown
from tests.api.graphql.support import ask

_NESTED = "job { group { members { nodes { "


def deep(times: int) -> str:
    return f"{{ jobs {{ nodes {{ {_NESTED * times} id {'} } } } ' * times} }} }} }}"


BOMBS = {
    "deep": ("{ " + "a { " * (MAX_DEPTH + 1) + "b" + " }" * (MAX_DEPTH + 2), "deeper than"),
    "cycle": (deep(3), "deeper than"),
    "nested": ("{" * 1500, "nested too deeply|cannot be read"),
    "lists": ("{ a(b: " + "[" * 900 + "]" * 900 + ") }", "nested too deeply|deeper than"),
    "aliases": (
        "{ " + " ".join(f"a{n}: me {{ user }}" for n in range(MAX_ALIASES + 1)) + " }",
        "aliases",
    ),
    "repeated": ("{ me { " + "user " * (MAX_ALIASES + 2) + "} }", "aliases and repeated"),
    "roots": (
        "{ " + " ".join(f"f{n}" for n in range(MAX_ROOTS + 1)) + " }",
        "begins with more than",
    ),
    "tokens": ("{ me { " + "user " * MAX_TOKENS + "} }", "words and signs"),
    "directives": ("{ me { user " + "@a " * MAX_TOKENS + "} }", "words and signs"),
    "fragments": (
        "{ ...f0 } "
        + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(20))
        + " fragment f20 on Query { me { user } }",
        "aliases and repeated",
    ),
    "circle": ("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", "itself"),
    "wide": ("{ jobs(first: 500) { nodes { events(first: 500) { nodes { id } } } } }", "values"),
}


class TestBombs:
    @pytest.mark.parametrize("name", BOMBS)
    async def test_are_refused(self, client: httpx.AsyncClient, name: str) -> None:
        query, told = BOMBS[name]
        began = time.monotonic()
        answer = await ask(client, query)
        assert time.monotonic() - began < 2 * slowdown()
        (error,) = answer["errors"]
        assert error["extensions"]["code"] in ("query_too_complex", "malformed_body")
        assert any(words in error["message"] for words in told.split("|")), error
        assert "data" not in answer

    async def test_what_just_fits_is_answered(self, client: httpx.AsyncClient) -> None:
        aliases = " ".join(f"a{n}: user" for n in range(MAX_ALIASES))
        answer = await ask(client, f"{{ me {{ {aliases} }} }}")
        assert "errors" not in answer

    async def test_the_variable_of_a_page_counts(self, client: httpx.AsyncClient) -> None:
        query = """query ($n: Int = 500, $m: Int = 1) { jobs(first: $n) { nodes {
            events(first: $m) { nodes { id type subject time position } } } } }"""
        assert "errors" not in await ask(client, query)
        answer = await ask(client, query, m=500)
        assert answer["errors"][0]["extensions"]["code"] == "query_too_complex"
        assert "errors" not in await ask(client, query, m=500, n=1)


class TestForm:
    def test_a_nul_character(self) -> None:
        with pytest.raises(InvalidRequest, match="NUL"):
            check_form(parse('{ job(id: "a\\u0000b") { id } }'))

    def test_the_depth_of_values(self) -> None:
        at_most = "[" * MAX_VALUE_DEPTH + "]" * MAX_VALUE_DEPTH
        check_form(parse(f"{{ a(b: {at_most}) }}"))
        with pytest.raises(TooComplex, match="value"):
            check_form(parse(f"{{ a(b: [{at_most}]) }}"))

    def test_values_side_by_side_are_not_deep(self) -> None:
        check_form(parse(f"{{ a(b: [{'{c: [1]} ' * 200}]) }}"))

    def test_fields_of_fragments_count(self) -> None:
        document = parse("{ ...f ...f } fragment f on Query { a { ...g } } fragment g on A { b c }")
        check_form(document)


class TestCost:
    @pytest.mark.parametrize(
        ("query", "fits"),
        [
            ("{ jobs(first: 500) { nodes { id name state } } }", True),
            ("{ jobs(first: 500) { nodes { id leases { key state attempt } } } }", True),
            ("{ jobs(first: 500) { nodes { id events(first: 50) { nodes { id } } } } }", False),
            ("{ jobs { nodes { id events { nodes { id } } charges { id } } } }", True),
            ("{ jobs(first: 1000000000) { nodes { id } } }", False),
            ("{ jobs(first: -5) { nodes { id } } }", True),
        ],
    )
    def test_pages_multiply(self, query: str, fits: bool) -> None:
        document = parse(query)
        (operation,) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        if fits:
            check_cost(CORE, document, operation, {})
        else:
            with pytest.raises(TooComplex, match=f"{MAX_COST} are the most"):
                check_cost(CORE, document, operation, {})
