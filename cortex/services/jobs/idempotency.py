"""What makes two requests with the same `Idempotency-Key` the same request."""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import SecretStr

from cortex.db.engine import Transaction
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.spec import JobSpec
from cortex.domain.templates import TemplateRef

MAX_KEY_LENGTH: Final = 255
IDEMPOTENCY_KEY: Final = f"^[!-~]([ -~]{{0,{MAX_KEY_LENGTH - 2}}}[!-~])?$"
"""What a key looks like; a header holds nothing else, and no blank at its ends."""


@dataclass(frozen=True)
class Origin:
    """Of what is submitted otherwise than by its spec.

    Attributes:
        mark: The fingerprint of what was asked for; the same request may become another spec later.
        template: What the spec was made from, if from a template.
        claim: Called within the transaction with the id of the job or group before it is stored;
            what it raises stops that.
    """

    mark: str = ""
    template: TemplateRef | None = None
    claim: Callable[[Transaction, str], Awaitable[None]] | None = None


def check_key(key: str | None) -> str | None:
    """The key of a request, or None.

    Raises:
        InvalidRequest: it is empty, too long or not printable.
    """
    if key is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY, key):
        message = f"must be 1 to {MAX_KEY_LENGTH} printable characters"
        raise InvalidRequest(
            f"`Idempotency-Key` {message}",
            errors=[FieldError(field="Idempotency-Key", message=message)],
        )
    return key


def in_project(kind: str, owner: str, project: str) -> str:
    """The kind of a request in a project; in the personal one it is as before there were any."""
    return kind if project == owner else f"{kind} in {project}"


def fingerprint(kind: str, specs: Sequence[JobSpec], encryption_keys: SecretStr | None) -> str:
    """A digest of the normalised specs, secrets included."""
    content = [[_shown(spec), spec.secrets()] for spec in specs]
    return fingerprint_of(kind, content, encryption_keys)


def _shown(spec: JobSpec) -> dict[str, Any]:
    """What a spec says; without what it does not say, it is as before there was such a field."""
    shown = spec.model_dump(mode="json")
    if spec.notify is None:
        del shown["notify"]
    return shown


def fingerprint_of(kind: str, content: Sequence[Any], encryption_keys: SecretStr | None) -> str:
    """A digest of what a request asks for.

    It is keyed with the oldest encryption key, so that a stored fingerprint does not let anyone
    guess a secret.
    """
    setting = encryption_keys.get_secret_value() if encryption_keys else ""
    oldest = setting.split(",")[-1].strip() or "cortex"
    body = orjson.dumps([kind, content], option=orjson.OPT_SORT_KEYS)
    return hmac.new(oldest.encode(), body, hashlib.sha256).hexdigest()
