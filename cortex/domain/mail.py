"""Addresses of mail, and how a mail server is spoken to."""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema

_ATOM: Final = "[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+"
_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADDRESS: Final = rf"^{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*$"
"""Plain addresses only: nothing that is quoted, no names, no comments, no line ends."""
LONGEST_ADDRESS: Final = 254
_ADDRESS: Final = re.compile(ADDRESS[1:-1])


class Tls(StrEnum):
    STARTTLS = "starttls"
    """Begins in clear and must change to TLS before anything is said."""
    TLS = "tls"
    NONE = "none"


def check_address(text: str) -> str:
    """The address, if it is one.

    Raises:
        ValueError: it is none.
    """
    if len(text) > LONGEST_ADDRESS or not _ADDRESS.fullmatch(text):
        raise ValueError("must be an e-mail address, such as ops@example.com")
    return text


def _or_none(text: str) -> str:
    return check_address(text) if text else text


MailAddress = Annotated[
    str,
    AfterValidator(check_address),
    WithJsonSchema({"type": "string", "pattern": ADDRESS, "maxLength": LONGEST_ADDRESS}),
]
MaybeAddress = Annotated[
    str,
    AfterValidator(_or_none),
    Field(description="Empty: none."),
    WithJsonSchema(
        {"type": "string", "pattern": f"^({ADDRESS[1:-1]})?$", "maxLength": LONGEST_ADDRESS}
    ),
]
