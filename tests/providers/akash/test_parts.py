"""Small parts: names, money, seals, words."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cortex.domain.ids import new_id
from providers.akash import money
from providers.akash.console.wire import Detail
from providers.akash.names import Marker, born, marker_of
from providers.akash.sdl.manifest import decrypt_manifest, encrypt_manifest
from providers.akash.sdl.render import literal, render
from providers.errors import InvalidSpec
from simulators.akash.cluster import expanded
from tests.providers.akash.conftest import config, spec

REAL = config("http://akash", block_seconds="6")
LEASE = "job_01k2abcdefghjkmnpqrstvwxyz-12"


def detail(
    price: str = "4180.25",
    *,
    escrow: str = "open",
    funds: str = "500000",
    transferred: str = "0",
    settled_at: int = 1000,
    closed_on: int = 0,
) -> Detail:
    coin: Any = lambda amount: {"denom": "uact", "amount": amount}  # noqa: E731
    lease = {
        "id": {"dseq": "1", "gseq": 1, "oseq": 1, "provider": "p"},
        "state": "closed" if closed_on else "active",
        "price": coin(price),
        "created_at": "1000",
        "closed_on": str(closed_on),
    }
    return Detail.model_validate(
        {
            "deployment": {"id": {"owner": "o", "dseq": "1"}, "state": "active"},
            "leases": [lease],
            "escrow_account": {
                "state": {
                    "state": escrow,
                    "transferred": [coin(transferred), {"denom": "uakt", "amount": "7"}],
                    "settled_at": str(settled_at),
                    "funds": [coin(funds)],
                }
            },
        }
    )


class TestMoney:
    def test_what_is_not_settled_yet_counts_in_whole_units(self) -> None:
        used = money.usage(detail(transferred="10.75"), 1003, REAL)
        # 3 blocks at 4180.25 are 12540.75, of which the whole part counts.
        assert used.cost.amount == Decimal("0.01255075")
        assert not used.final
        assert used.seconds == 18

    def test_never_more_than_was_put_in(self) -> None:
        assert money.usage(detail(), 10**9, REAL).cost.amount == Decimal("0.5")

    def test_at_the_end_it_is_what_was_paid(self) -> None:
        ended = detail(escrow="closed", transferred="123.456", funds="0", closed_on=1010)
        used = money.usage(ended, 0, REAL)
        assert used.final
        assert used.cost.amount == Decimal("0.000123456")
        assert used.seconds == 60

    def test_how_long_the_escrow_lasts(self) -> None:
        lasts = money.lasts(detail(price="1000"), 1100, REAL)
        assert lasts == timedelta(seconds=(500 - 100) * 6)
        assert money.remaining(detail(price="1000"), 2000) == -500_000
        assert money.lasts(detail(closed_on=1001), 1100, REAL) is None

    def test_a_price_there_and_back(self) -> None:
        assert money.per_hour(Decimal(5000), REAL).amount == 3
        assert money.per_block(Decimal(3), REAL) == 5000


class TestNames:
    @pytest.mark.parametrize(("batch", "port"), [(True, None), (False, 8080), (False, None)])
    def test_they_are_read_back(self, batch: bool, port: int | None) -> None:
        marker = Marker("ctx", LEASE, batch=batch, ingress=port)
        assert marker_of(str(marker), "ctx") == marker
        assert len(str(marker)) < 63

    @pytest.mark.parametrize(
        "name", ["westcoast", "dcloud", "ctx-short-1-b", f"other-{LEASE[4:]}-b", f"ctx-{LEASE}-b"]
    )
    def test_those_of_others_are_left_alone(self, name: str) -> None:
        assert marker_of(name, "ctx") is None

    def test_a_key_tells_when_its_job_was_made(self) -> None:
        made = born(f"{new_id('job')}-1")
        assert abs(datetime.now(UTC) - made) < timedelta(seconds=5)


def test_a_seal_opens_with_its_key_and_lease_only() -> None:
    sealed = encrypt_manifest("secret", "key", LEASE)
    assert sealed == encrypt_manifest("secret", "key", LEASE)
    assert decrypt_manifest(sealed, "key", LEASE) == "secret"
    assert decrypt_manifest(sealed, "other", LEASE) is None
    assert decrypt_manifest(sealed, "key", LEASE + "1") is None
    assert decrypt_manifest("nonsense", "key", LEASE) is None


@pytest.mark.parametrize("text", ["$", "$$", "$(A)", "$$(A)", "a$(NOPE)b", "$A ${A} $(A)$$$"])
def test_kubernetes_gives_back_what_was_meant(text: str) -> None:
    assert expanded(literal(text), {"A": "x"}) == text


def test_ports_and_volumes_of_a_service() -> None:
    job = spec(
        kind="service",
        ports=[{"port": 80, "name": "tcp-raw"}, {"port": 3000}, {"port": 53, "protocol": "udp"}],
        volumes=[{"name": "9data", "path": "/data", "size": "1Gi"}],
    )
    service = render(job, LEASE, REAL, Decimal(5)).sdl["services"]["job"]
    assert [(port["port"], port.get("as")) for port in service["expose"]] == [
        (80, 8080),
        (3000, 80),
        (53, None),
    ]
    assert service["params"] == {"storage": {"v-9data": {"mount": "/data", "readOnly": False}}}


def test_a_batch_has_a_global_port_and_a_guard() -> None:
    service = render(spec(), LEASE, REAL, Decimal(5)).sdl["services"]["job"]
    assert service["expose"][0]["to"] == [{"global": True}]
    assert "CORTEX_RUNNER_MARKS=/dev/shm" in service["env"]
    assert "params" not in service  # what a bidder may not have, is not asked for
    in_ram = config("http://akash", guard_storage="ram")
    service = render(spec(), LEASE, in_ram, Decimal(5)).sdl["services"]["job"]
    assert "CORTEX_RUNNER_MARKS=/run/cortex" in service["env"]
    assert service["params"] == {"storage": {"marks": {"mount": "/run/cortex", "readOnly": False}}}
    plain = config("http://akash", guard_restarts=False)
    service = render(spec(), LEASE, plain, Decimal(5)).sdl["services"]["job"]
    assert not any(entry.startswith("CORTEX_RUNNER_MARKS=") for entry in service["env"])


def test_registry_logins_go_to_their_registry_only() -> None:
    logins = [
        {"server": "docker.io", "username": "u", "password": "hub-secret"},
        {"server": "registry.example.org:5000", "username": "v", "password": "own-secret"},
    ]
    own = config("http://akash", registries=logins)
    for image, user in (
        ("busybox", "u"),
        ("lab/fold:1", "u"),
        ("registry.example.org:5000/lab/fold", "v"),
        ("quay.example.org/lab/fold", None),
    ):
        service = render(spec(image=image), LEASE, own, Decimal(5)).sdl["services"]["job"]
        assert service.get("credentials", {}).get("username") == user


def test_volumes_at_the_same_place_are_refused() -> None:
    volumes = [{"name": "a", "path": "/run/cortex"}]
    in_ram = config("http://akash", guard_storage="ram")
    with pytest.raises(InvalidSpec, match="same place"):
        render(spec(volumes=volumes), LEASE, in_ram, Decimal(5))
