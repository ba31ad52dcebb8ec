"""Addresses: the plain ones; none that could say more than whom a mail is for."""

import pytest
from pydantic import TypeAdapter, ValidationError

from cortex.domain.mail import MailAddress, MaybeAddress

ADDRESS = TypeAdapter[str](MailAddress)
MAYBE = TypeAdapter[str](MaybeAddress)


@pytest.mark.parametrize("text", ["a@b", "ann.o'neil+x@mail.example.com", "A_1@x-y.de"])
def test_what_is_an_address(text: str) -> None:
    assert ADDRESS.validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@b",
        "a@",
        "a@b\n",
        "a@b\r\nBcc: c@d",
        "a@b,c@d",
        "Ann <a@b>",
        '"a b"@c',
        "a..b@c",
        ".a@b",
        "a@-b",
        "a@b..c",
        "a@[127.0.0.1]",
        "a@" + "b" * 300,
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValidationError, match="must be an e-mail address"):
        ADDRESS.validate_python(text)


def test_none_at_all() -> None:
    assert MAYBE.validate_python("") == ""
    with pytest.raises(ValidationError):
        MAYBE.validate_python(" ")
