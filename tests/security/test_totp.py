"""Time-based codes: the examples of RFC 6238, the steps around now, and that a step works once."""

import base64

import pytest

from cortex.security import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_the_examples_of_the_rfc(seconds: int, code: str) -> None:
    assert totp.code_at(SECRET, seconds) == code
    assert totp.step_of(SECRET, code, after=0, now=seconds) == seconds // 30


def test_a_step_before_and_after_is_taken() -> None:
    now = 1_000_000_000.0
    steps = {
        shift: totp.step_of(SECRET, totp.code_at(SECRET, now + 30 * shift), after=0, now=now)
        for shift in range(-3, 4)
    }
    this = int(now) // 30
    assert {shift: step for shift, step in steps.items() if step} == {
        -1: this - 1,
        0: this,
        1: this + 1,
    }


def test_a_step_that_was_used_is_none() -> None:
    now = 1_000_000_000.0
    code = totp.code_at(SECRET, now)
    step = totp.step_of(SECRET, code, after=0, now=now)
    assert step is not None
    assert totp.step_of(SECRET, code, after=step, now=now) is None
    assert totp.step_of(SECRET, code, after=step, now=now + 30) is None
    before = totp.code_at(SECRET, now - 30)
    assert totp.step_of(SECRET, before, after=step, now=now) is None
    following = totp.code_at(SECRET, now + 30)
    assert totp.step_of(SECRET, following, after=step, now=now) == step + 1


def test_secrets_are_long_and_differ() -> None:
    made = {totp.new_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(len(base64.b32decode(secret)) == 20 for secret in made)
    uri = totp.uri(next(iter(made)), "ann", "Cortex")
    assert uri.startswith("otpauth://totp/Cortex:ann?secret=")
