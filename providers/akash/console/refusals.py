"""What the Console means when it refuses, by its words.

Money and trials come as 400, as faults of the job do. They are about the account or the offer:
other networks may take the job. And what Akash does not accept of a description that was made
here says nothing about other networks either. So a refusal never makes a job invalid. The words
are those of the Console's source (`chain-error.service.ts`, `managed-signer.service.ts`,
`sdl.service.ts`); they are told as they came.
"""

from providers.errors import (
    InsufficientFunds,
    NoCapacity,
    ProviderError,
    Unavailable,
    Unsuitable,
)
from providers.http import Refused, code_of

NOT_DELIVERED = "manifest_not_delivered"
"""The lease exists and costs money; its provider does not know what to run."""
UNREACHABLE = "provider_unreachable"
"""No lease was made."""

_NO_MONEY = (
    "insufficient funds",
    "insufficient balance",
    "not enough balance",
    "not enough funds",
    "trial expired",
)
_ON_TRIAL = "free trial"


def of_account(refused: Refused) -> ProviderError | None:
    """The error where a refusal is about the account; None where it is about something else."""
    text = str(refused).lower()
    if _ON_TRIAL in text:
        return Unsuitable(f"the Akash account is on a free trial: {refused}")
    if any(words in text for words in _NO_MONEY):
        return InsufficientFunds(f"the Akash account cannot pay: {refused}")
    return None


def of_creation(refused: Refused) -> ProviderError:
    """A refused creation: nothing was made."""
    account = of_account(refused)
    if account is not None:
        return account
    if refused.status == 409:
        return Unavailable("the wallet of the Akash account is just being made; try again soon")
    if "deposit" in str(refused).lower():
        return NoCapacity(f"{refused}; raise `min_deposit` of the provider's configuration")
    if refused.status in (400, 422):
        return Unsuitable(f"Akash does not accept the job: {refused}")
    return NoCapacity(f"Akash made no deployment: {refused}")


def other_key(refused: Refused) -> bool:
    """Whether secrets were sealed to a key that the Console has replaced since."""
    return refused.status == 409 and "sealed to a key" in str(refused).lower()


def code(refused: Refused) -> str:
    """The Console's code of a refusal."""
    return code_of(refused.body)
