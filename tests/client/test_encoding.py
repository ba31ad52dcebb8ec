"""What Python has and JSON has not is sent in full, or refused before anything is sent."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cortex.client import AsyncCortex, ClientError, Cortex, InvalidValue, NotConfigured
from cortex.client.encoding import encode
from cortex.domain.money import Money
from tests.client.conftest import QUICK, Stub, reply

BAD: list[tuple[dict[str, Any], str]] = [
    ({"env": {"A": "caf\udce9"}}, r"`env\.A` has half of a character .*: `caf\\udce9`"),
    ({"command": ["a", "\ud800"]}, r"`command\[1\]` has half of a character"),
    ({"labels": {"\udce9": "x"}}, "`labels` has half of a character"),
    ({"env": {"A": float("nan")}}, r"`env\.A` is nan, which is no number"),
    ({"resources": {"cpu": float("inf")}}, r"`resources\.cpu` is inf"),
    ({"resources": {"cpu": Decimal("NaN")}}, r"`resources\.cpu` is NaN"),
    ({"env": {1: "x"}}, "`env` has the key 1, which is no text"),
    ({"env": {False: "x"}}, "`env` has the key False, which is no text"),
    ({"command": [b"a"]}, r"`command\[0\]` is a bytes"),
    ({"outputs": {"a"}}, "`outputs` is a set"),
    ({"env": {"A": object()}}, "it has no form in JSON"),
]


@pytest.mark.parametrize(("spec", "message"), BAD)
def test_refused_with_its_place(stub: Stub, spec: dict[str, Any], message: str) -> None:
    with Cortex(stub.url, "key", retry=QUICK) as cortex:
        for call in (cortex.submit, cortex.validate, cortex.quote):
            with pytest.raises(InvalidValue, match=message):
                call(spec)
        with pytest.raises(InvalidValue):
            cortex.submit_batch([{"command": ["a"]}, spec])
        with pytest.raises(InvalidValue):
            cortex.submit_group({"jobs": [spec]})
    assert not stub.seen
    assert issubclass(InvalidValue, ClientError | ValueError)


async def test_the_other_client_too(stub: Stub) -> None:
    async with AsyncCortex(stub.url, "key", retry=QUICK) as cortex:
        with pytest.raises(InvalidValue, match="half of a character"):
            await cortex.submit({"env": {"A": "\ud800"}})


def test_names_in_paths_and_queries(stub: Stub) -> None:
    with Cortex(stub.url, "key", retry=QUICK) as cortex:
        for call in (
            lambda: cortex.job("\udce9"),
            lambda: cortex.cancel("job_1", reason="\udce9"),
            lambda: cortex.output("job_1", "\udce9"),
            lambda: cortex.submit({"command": ["a"]}, idempotency_key="ü"),
        ):
            with pytest.raises(InvalidValue):
                call()
    assert not stub.seen


def test_a_key_with_odd_letters(stub: Stub) -> None:
    with pytest.raises(NotConfigured, match="the API key has characters"):
        Cortex(stub.url, "schlüssel")


def test_whole_numbers_of_any_size() -> None:
    body = encode({"env": {"N": 10**30}, "list": [1, 2.5, True, None, "ü"]})
    assert body.decode() == (
        '{"env": {"N": 1000000000000000000000000000000}, "list": [1, 2.5, true, null, "ü"]}'
    )


def test_what_people_use() -> None:
    @dataclass
    class Extra:
        a: int

    value = {
        "duration": timedelta(minutes=90),
        "cpu": Decimal("0.50"),
        "budget": Money.model_validate("1.50 USD"),
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "extra": Extra(1),
        "big": 2**70,
        "pair": (1, 2),
    }
    assert json.loads(encode(value)) == {
        "duration": "1h30m",
        "cpu": "0.50",
        "budget": "1.5 USD",
        "at": "2026-01-01T00:00:00+00:00",
        "extra": {"a": 1},
        "big": 2**70,
        "pair": [1, 2],
    }


def test_what_is_sent_arrives(stub: Stub) -> None:
    stub.replies = [reply(200, "{}")]
    with Cortex(stub.url, "key", retry=QUICK) as cortex, pytest.raises(ClientError):
        cortex.validate({"env": {"N": 10**30}})
    assert b"1000000000000000000000000000000" in stub.seen[0].body
