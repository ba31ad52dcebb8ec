"""Rendered SDL and manifests, compared with what the network's own library makes of them."""

import random
from decimal import Decimal
from typing import Any

import pytest

from providers.akash.sdl.manifest import version
from providers.akash.sdl.render import Rendered, render
from tests.providers.akash.conftest import config, key, spec
from tests.providers.akash.oracle import ask

# The first call installs the library.

_WORDS = (
    "plain",
    "two words",
    "",
    "1e-3",
    "0o17",
    "0x1F",
    "null",
    "~",
    "yes",
    "2026-11-24",
    "1_000",
    "#no comment",
    "a: b",
    "- item",
    "<tag attr='x'> & \"quoted\"",
    "$HOME $$ $(date) ${x}",
    "line\nline\r\n\ttab",
    "back\\slash \\u003c",
    "ü ß 漢 🚀",
    "\u0085\ufeff\u007f\u0001",
    '"quantity":1, "sequenceNumber":2',
    "%TAG ! @ `",
    "x" * 3000,
)
_CAP = Decimal("1234.5")


def _rendered(**changes: Any) -> Rendered:
    login = {"server": "registry.example.org", "username": "puller", "password": "secret & <x>"}
    return render(
        spec("echo ran", **changes), key(), config("http://akash", registries=[login]), _CAP
    )


def _some(dice: random.Random) -> Rendered:
    """A job out of everything that a spec can say."""
    words = [dice.choice(_WORDS) for _ in range(dice.randrange(5))]
    ports = dice.sample(range(1, 65536), dice.randrange(4))
    gpu = {"count": dice.randint(1, 8), "model": dice.choice([None, "A100", "rtx4090"])}
    need = {
        "cpu": str(Decimal(dice.randint(1, 9999)) / 100),
        "memory": dice.randint(4 * 2**20, 2**40),
        "storage": dice.randint(0, 2**41),
        "gpu": dice.choice([None, gpu]),
    }
    return _rendered(
        kind=dice.choice(["batch", "service"]),
        image=dice.choice(["busybox:1.36", "registry.example.org/lab/fold@sha256:" + "0" * 64]),
        command=("sh", "-c", *words),
        env={f"V{i}": dice.choice(_WORDS) for i in range(dice.randrange(4))},
        secret_env={f"S{i}": dice.choice(_WORDS) for i in range(dice.randrange(2))},
        resources=need,
        ports=[
            {
                "port": port,
                "protocol": dice.choice(["tcp", "udp"]),
                "public": dice.random() < 0.8,
                "name": dice.choice([None, "http", "tcp-raw"]),
            }
            for port in ports
        ],
        volumes=[
            {"name": f"vol{i}", "path": f"/data/{i}", "size": dice.randint(2**20, 2**40)}
            for i in range(dice.randrange(3))
        ],
        placement={"regions": dice.sample(["eu-west", "us-east"], dice.randrange(3))},
    )


@pytest.mark.slow
def test_manifests_and_hashes_agree_with_the_library() -> None:
    dice = random.Random(20261124)
    jobs = [_some(dice) for _ in range(150)]
    for job, told in zip(jobs, ask([job.text for job in jobs]), strict=True):
        assert "errors" not in told, (told["errors"], job.text[:2000])
        assert told["manifest"] == job.manifest
        assert told["version"] == version(job.manifest)


def test_what_goes_on_the_chain() -> None:
    """The placement's name is the lease's mark; price and resources are those of the job."""
    job = _rendered(
        resources={"cpu": "1.5", "memory": "2Gi", "storage": "3Gi", "gpu": {"model": "A100"}},
        placement={"regions": ["eu-west"]},
    )
    (told,) = ask([job.text])
    (group,) = told["groups"]
    assert group["name"] == str(job.marker)
    assert group["requirements"]["attributes"] == [{"key": "location-region", "value": "eu-west"}]
    (unit,) = group["resources"]
    assert unit["price"] == {"denom": "uact", "amount": "1234.500000"}
    assert unit["count"] == 1
    resource = unit["resource"]
    assert resource["cpu"]["units"]["val"] == "1500"
    assert resource["memory"]["quantity"]["val"] == str(2 * 2**30)
    assert [volume["quantity"]["val"] for volume in resource["storage"]] == [str(3 * 2**30)]
    assert resource["gpu"]["attributes"] == [{"key": "vendor/nvidia/model/a100", "value": "true"}]


def test_the_library_refuses_what_is_wrong() -> None:
    """So that the agreement above means something."""
    text = _rendered().text
    broken = [text.replace('"uact"', '"usd"'), text.replace('"2.0"', '"9"'), "services: {}"]
    assert all("errors" in told for told in ask(broken))
