"""Keeps a job inside its agreement.

Phase two must know what to run, also after every process has been restarted, and the network's
only memory of a reservation is the agreement. So the job travels in the counter-proposal, as one
property, encrypted with a key made from the app-key: the provider learns nothing before phase two.
"""

import base64
import binascii
import json
import os
import zlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from providers.errors import LeaseLost, Unsuitable

_NONCE = 12
MAX_SEALED = 96 * 1024


@dataclass(frozen=True)
class SealedJob:
    """What phase two runs."""

    argv: tuple[str, ...]
    workdir: str
    env: dict[str, str] = field(repr=False)  # secrets of the job are among them


def seal(job: SealedJob, key: str, app_key: str) -> str:
    """The job as one line of text that only this app-key opens, for this lease only.

    Raises:
        Unsuitable: the job is too large to travel in an agreement.
    """
    plain = json.dumps({"argv": job.argv, "workdir": job.workdir, "env": job.env}).encode()
    nonce = os.urandom(_NONCE)
    box = AESGCM(_secret(app_key)).encrypt(nonce, zlib.compress(plain, 9), key.encode())
    text = base64.b64encode(nonce + box).decode()
    if len(text) > MAX_SEALED:
        raise Unsuitable(
            "the command and the variables of this job are too large for a Golem agreement; "
            "pass large data as a file"
        )
    return text


def unseal(text: str, key: str, app_key: str) -> SealedJob:
    """The job again.

    Raises:
        LeaseLost: it was made with another app-key, or is broken.
    """
    try:
        data = base64.b64decode(text, validate=True)
        packed = AESGCM(_secret(app_key)).decrypt(data[:_NONCE], data[_NONCE:], key.encode())
        plain = json.loads(zlib.decompress(packed))
        return SealedJob(tuple(plain["argv"]), str(plain["workdir"]), dict(plain["env"]))
    except (InvalidTag, ValueError, KeyError, TypeError, binascii.Error, zlib.error):
        raise LeaseLost(
            f"the agreement of lease `{key}` was made with another app-key and cannot be used"
        ) from None


def _secret(app_key: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"cortex golem sealed job").derive(app_key.encode())
