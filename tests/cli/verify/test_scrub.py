"""What must not leave the machine does not get into a report."""

from pathlib import Path

import pytest

from cli.verify.scrub import MASK, Scrubber

KEY = "planted-api-key-4711"
ENVIRONMENT = {
    "AKASH_API_KEY": "from-the-environment-99",
    "DB_PASSWORD": "hunter2-hunter2",
    "EDITOR": "innocent-editor",
}
scrub = Scrubber([KEY, None, ""], [Path("/opt/cortex-data")], ENVIRONMENT)


@pytest.mark.parametrize(
    "text",
    [
        f"the network says {KEY}",
        "it repeats from-the-environment-99 to us",
        "hunter2-hunter2",
        "Bearer abcdef123456",
        "token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJha2FzaCJ9.c2lnbmF0dXJl",
        "https://me:s3cret-pass@host.test/path",
        "PUT http://10.0.0.1/drop/outputs.tar?sig=0123456789&expires=1",
        "api_key: planted-unknown-1",
        '{"secret_key": "planted-unknown-2"}',
        "-----BEGIN PRIVATE KEY-----\nplanted-pem\n-----END PRIVATE KEY-----",
        "the key ac.sk.production.planted0123456789",
        "nos_planted0123456789",
    ],
)
def test_secrets(text: str) -> None:
    clean = scrub.text(text)
    assert MASK in clean
    for planted in (
        KEY,
        "from-the-environment",
        "hunter2",
        "abcdef123456",
        "eyJzdWIi",
        "s3cret-pass",
        "0123456789",
        "planted-",
    ):
        assert planted not in clean


@pytest.mark.parametrize(
    "text",
    [
        f"{Path.home()}/notes.txt is missing",
        "/opt/cortex-data/providers/akash",
        "/home/somebody/.config/x",
        "in `/var/lib/private`",
    ],
)
def test_places_of_this_machine(text: str) -> None:
    clean = scrub.text(text)
    for part in (str(Path.home()), "/opt/", "somebody", "/var/"):
        assert part not in clean


@pytest.mark.parametrize(
    "text",
    [
        "job `job_01m8m27y9w0d93affyqjd2tmc0` is failed: exit code 7",
        "Akash Console GET /v1/deployments/*",
        "0.342 GLM per hour, SHA-256 12ea1e390682b5a7…",
        "a reservation under the lease's key",
        "https://console-api.akash.network/v1/bids answers with 500",
        "innocent-editor",
        "read_only_root, keepalive",
    ],
)
def test_what_may_stay(text: str) -> None:
    assert scrub.text(text) == text


def test_a_configuration() -> None:
    config = {
        "url": "https://u:p4ssw0rd@host.test/x?key=1",
        "api_key": "x",
        "nested": {"auth_token": ["a", "b"], "images": {"a": "b"}},
        "state_dir": "/srv/cortex/state",
        "count": 3,
        "token_ttl": 300,
    }
    assert scrub.config(config) == {
        "url": f"https://{MASK}@host.test/x?{MASK}",
        "api_key": MASK,
        "nested": {"auth_token": [MASK, MASK], "images": {"a": "b"}},
        "state_dir": "<path>",
        "count": 3,
        "token_ttl": 300,
    }
