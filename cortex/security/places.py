"""What ciphertexts are bound to: the row, and by the form of its id the column.

A ciphertext that is moved to another row does not open. Each of these columns is the only one of
its table that is encrypted so.
"""


def job_place(job_id: str) -> str:
    """Of `jobs.secrets`."""
    return job_id


def provider_place(provider_id: str) -> str:
    """Of `providers.credentials`."""
    return f"provider:{provider_id}"


def named_secret_place(secret_id: str) -> str:
    """Of `named_secrets.sealed`."""
    return f"secret:{secret_id}"


def webhook_place(webhook_id: str) -> str:
    """Of `webhooks.secrets`."""
    return f"webhook:{webhook_id}"


def message_place(message_id: str) -> str:
    """Of `messages.sealed`."""
    return f"message:{message_id}"


def preference_place(name: str) -> str:
    """Of `notice_preferences.sealed`."""
    return f"notices:{name}"


def draft_place(draft_id: str) -> str:
    """Of `provider_drafts.sealed`."""
    return f"draft:{draft_id}"


def totp_place(user_id: str) -> str:
    """Of `totp_seeds.sealed`."""
    return f"totp:{user_id}"


def signing_place(key_id: str) -> str:
    """Of `signing_keys.sealed`."""
    return f"signing:{key_id}"


PAYLOADS = "temporal"
"""Of all payloads in Temporal: where one is used there is known to Temporal alone."""
