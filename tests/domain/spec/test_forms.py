"""What the schemas allow as a text is what the parsers take, within the same limits."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from cortex.domain.schema import job_spec_schema
from cortex.domain.spec import JobSpec
from cortex.domain.spec.forms import between, cores, duration, size
from cortex.domain.units import parse_bytes, parse_cores, parse_duration

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
VALIDATOR = Draft202012Validator(job_spec_schema())
FEW = settings(max_examples=60, deadline=None)


@FEW
@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 2 * 10**7))
def test_between(one: int, other: int, number: int) -> None:
    low, high = sorted((one, other))
    for tried in (number, low, high, low - 1, high + 1):
        if tried >= 0:
            matched = re.fullmatch(between(low, high), str(tried)) is not None
            assert matched == (low <= tried <= high)


@pytest.mark.parametrize("most", [DAY, 7 * DAY, 90 * DAY])
def test_durations(most: timedelta) -> None:
    @FEW
    @given(st.from_regex(duration(SECOND, most), fullmatch=True))
    def check(text: str) -> None:
        assert SECOND <= parse_duration(text) <= most

    check()


@pytest.mark.parametrize(("least", "most"), [(4 * 2**20, 64 * 2**40), (0, 2**50)])
def test_sizes(least: int, most: int) -> None:
    @FEW
    @given(st.from_regex(size(least, most), fullmatch=True))
    def check(text: str) -> None:
        assert least <= parse_bytes(text) <= most

    check()


@FEW
@given(st.from_regex(cores(), fullmatch=True))
def test_cores(text: str) -> None:
    assert Decimal("0.01") <= parse_cores(text) <= 1024


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({"duration": "1h30m"}, True),
        ({"duration": "1d12h"}, True),
        ({"duration": "1d 30m"}, True),
        ({"duration": "1:30"}, False),
        ({"duration": "91d"}, False),
        ({"duration": 0.5}, False),
        ({"resources": {"memory": "16gi", "cpu": "250m"}}, True),
        ({"resources": {"memory": "4g"}}, False),
        ({"resources": {"memory": "3Mi"}}, False),
        ({"resources": {"cpu": "1_0"}}, False),
        ({"name": "-x"}, False),
        ({"image": "Busybox"}, False),
        ({"command": [" "]}, False),
        ({"env": {"discovery.type": "x", "A": 1, "B": True}}, True),
        ({"env": {"a b": "x"}}, False),
        ({"labels": {"team": "größe 東京"}}, True),
        ({"labels": {"team": "a,b"}}, False),
        ({"labels": {"": "x"}}, False),
        ({"outputs": ["out", "a/b.txt", "./out/", "-v.txt"]}, True),
        ({"outputs": ["../x"]}, False),
        ({"outputs": ["a/../b"]}, False),
        ({"workdir": "/work"}, True),
        ({"workdir": "work"}, False),
        ({"budget": "0.50 USD"}, True),
        ({"budget": "0 USD"}, False),
        ({"budget": "-1 USD"}, False),
        ({"placement": {"max_price": {"amount": 0.5, "currency": "usd"}}}, True),
        ({"volumes": [{"name": "v", "path": "/a/../b"}]}, False),
        ({"placement": {"weights": {"cost": "0.5", "performance": 2}}}, True),
        ({"placement": {"weights": {"cost": "1000"}}}, True),
        ({"placement": {"weights": {"cost": "1000.1"}}}, False),
        ({"placement": {"weights": {"cost": "much"}}}, False),
        ({"placement": {"weights": {"cost": ""}}}, False),
        ({"placement": {"weights": {"cost": 1e-200}}}, False),
        ({"placement": {"weights": {"cost": -1}}}, False),
        ({"x-mine": 1}, True),
        ({"command": []}, False),
    ],
)
def test_the_schema_agrees_with_the_check(fields: dict[str, object], valid: bool) -> None:
    spec = {"command": ["true"], **fields}
    assert VALIDATOR.is_valid(spec) == valid
    try:
        JobSpec.model_validate(spec)
    except ValidationError:
        assert not valid
    else:
        assert valid


class TestWholeNumbers:
    """JSON Schema's integers include 2.0: so does the short form of an object or a text."""

    def test_retries(self) -> None:
        spec = {"image": "a", "command": ["true"], "retries": 2.0}
        assert VALIDATOR.is_valid(spec)
        assert JobSpec.model_validate(spec).retries.on_failure == 2

    @pytest.mark.parametrize("number", [Decimal("2.0"), Decimal("2E+0")])
    def test_retries_as_a_body_gives_them(self, number: Decimal) -> None:
        spec = {"image": "a", "command": ["true"], "retries": number}
        assert JobSpec.model_validate(spec).retries.on_failure == 2

    @pytest.mark.parametrize("frame", [7, 7.0, "7.0", Decimal("7.0"), Decimal("0.7E+1")])
    def test_one_frame(self, frame: object) -> None:
        spec = {"render": {"scene": "/scenes/a.blend", "frames": 7.0}}
        assert VALIDATOR.is_valid(spec)
        written = {"render": {**spec["render"], "frames": frame}}
        render = JobSpec.model_validate(written).render
        assert render is not None
        assert render.numbers() == (7,)

    def test_a_part_of_one_is_none(self) -> None:
        with pytest.raises(ValidationError, match="on_failure"):
            JobSpec.model_validate({"image": "a", "command": ["true"], "retries": 2.5})
