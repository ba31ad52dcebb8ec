"""What registries and runtimes say of an image that cannot be pulled: whose fault it is."""

import pytest

from providers.registries import cannot_be_pulled, pull_trouble

MISSING = [
    # Recorded at an Akash provider's gateway (events), and of a Nosana node.
    'Failed to pull image "no/such": rpc error: code = NotFound desc = failed to pull and unpack '
    "image: not found",
    "Error: initializing source docker://no/such: manifest unknown",
    # Docker and Podman.
    "manifest for busybox:nope not found: manifest unknown: manifest unknown",
    "pull access denied for no/such, repository does not exist or may require 'docker login': "
    "denied: requested access to the resource is denied",
    "initializing source docker://no/such:1: reading manifest 1 in docker.io/no/such: requested "
    "access to the resource is denied",
    "repository name not known to registry",
    "unauthorized: authentication required",
    "No such image: no/such:1",
    "failed to authorize: failed to fetch anonymous token: 403 Forbidden",
    "no basic auth credentials",
    "no match for platform in manifest: not found",
    "invalid reference format",
    "couldn't parse image name",
]
UNPULLABLE = [
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by "
    "authenticating and upgrading",
    "429 Too Many Requests",
    "dial tcp 1.2.3.4:443: i/o timeout",
    "net/http: TLS handshake timeout",
    "context deadline exceeded",
    "dial tcp: lookup registry.example on 1.1.1.1:53: no such host",
    "dial tcp: lookup registry.example: Temporary failure in name resolution",
    "dial tcp 127.0.0.1:1: connect: connection refused",
    "read tcp: connection reset by peer",
    "unexpected EOF",
    "received unexpected HTTP status: 503 Service Unavailable",
    "write /var/lib/x: no space left on device",
    "x509: certificate signed by unknown authority",
    "",
]


@pytest.mark.parametrize("text", MISSING)
def test_there_is_no_such_image(text: str) -> None:
    assert pull_trouble(text) == "missing"


@pytest.mark.parametrize("text", UNPULLABLE)
def test_it_cannot_be_pulled_there(text: str) -> None:
    assert pull_trouble(text) == "unpullable"


@pytest.mark.parametrize("text", ["ErrImagePull: ", "ImagePullBackOff: Back-off pulling image: "])
def test_what_stands_before_it_says_nothing(text: str) -> None:
    assert pull_trouble(f"{text}manifest unknown") == "missing"
    assert pull_trouble(text) == "unpullable"


def test_the_name_of_the_image_says_nothing() -> None:
    image = "lab/timeout-not-found:toomanyrequests"
    assert pull_trouble(f"Failed to pull {image}: manifest unknown", image) == "missing"
    assert pull_trouble(f"Failed to pull {image}: connection refused", image) == "unpullable"


def test_it_is_named_once() -> None:
    assert cannot_be_pulled("a:1", "manifest unknown") == (
        "image `a:1` cannot be pulled: manifest unknown"
    )
    assert cannot_be_pulled("a:1", "") == "image `a:1` cannot be pulled"
