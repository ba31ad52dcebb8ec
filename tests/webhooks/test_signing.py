"""Signatures, against the public package and the example of the specification."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from cortex.webhooks.signing import new_secret, signed_headers

_SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_example_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    time = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers([_SPEC_SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", time, body)
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_package_verifies_each_secret_and_no_other() -> None:
    first, second, other = new_secret(), new_secret(), new_secret()
    body = '{"name": "\u00fc"}'.encode()
    headers = signed_headers([first, second], "dlv_1", datetime.now(UTC), body)
    for secret in (first, second):
        assert Webhook(secret).verify(body, headers) == {"name": "\u00fc"}
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(first).verify(body + b" ", headers)
