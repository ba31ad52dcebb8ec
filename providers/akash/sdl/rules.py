"""What the network demands of SDL, checked before anything costs money.

The Console accepts a service without any global port, or with a name that Kubernetes refuses; the
provider then rejects the manifest when the lease is already billed. So all of it is checked here.
"""

import re
from decimal import Decimal
from typing import Any

from providers.errors import InvalidSpec, Unsuitable

_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
# Names as Kubernetes takes them (`IsEnvVarName` of k8s.io/apimachinery).
_ENV = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*=.*", re.DOTALL)
_GPU_MODEL = re.compile(r"[a-z0-9][a-z0-9.-]*")
_SEPARATORS = "\u2028\u2029"
MAX_SDL = 524_288
_MAX_CPU_MILLI = 384_000
_MIN_CPU_MILLI = 10
MAX_STORAGE_MIB = 32 * 2**20
MAX_GPUS = 24
MAX_PRICE = Decimal(10_000_000)


def check(sdl: dict[str, Any]) -> None:
    """Look at every service.

    Raises:
        InvalidSpec: the network will not have it, whoever asks.
        Unsuitable: it has no such thing.
    """
    for name, service in sdl["services"].items():
        if not _SERVICE.fullmatch(name) or len(name) > 63:
            raise InvalidSpec(f"Akash takes no service name like `{name}`")
        _check_service(service)
    for profile in sdl["profiles"]["compute"].values():
        _check_resources(profile["resources"])
    for placement in sdl["profiles"]["placement"].values():
        for price in placement["pricing"].values():
            _check_price(Decimal(price["amount"]))
    if not any(_is_global(each) for each in sdl["services"].values()):
        raise InvalidSpec("Akash needs at least one port that is reachable from outside")


def too_large(text: str) -> bool:
    """Whether SDL is longer than the Console takes."""
    return len(text) > MAX_SDL


def _check_service(service: dict[str, Any]) -> None:
    words = (*service.get("command", ()), *service.get("args", ()), *service.get("env", ()))
    if any(char in word for word in words for char in _SEPARATORS):
        # Its provider and the Console hash them differently, and the manifest is refused.
        raise Unsuitable("Akash takes no line or paragraph separators (U+2028, U+2029)")
    for entry in service.get("env") or ():
        if not _ENV.fullmatch(entry):
            raise InvalidSpec(f"Akash takes no variable like `{entry.partition('=')[0][:60]}`")
    ports = [(port["port"], port.get("proto", "tcp")) for port in service["expose"]]
    if len(set(ports)) != len(ports):
        raise InvalidSpec("a port is exposed twice")
    web = [port for port in service["expose"] if port.get("as") == 80 and port["proto"] == "tcp"]
    if len(web) > 1:
        raise InvalidSpec("Akash gives one web address to a service")
    mounts = [volume["mount"] for volume in service.get("params", {}).get("storage", {}).values()]
    if len(set(mounts)) != len(mounts):
        raise InvalidSpec("two volumes are mounted at the same place")
    if any(mount == "/" for mount in mounts):
        raise InvalidSpec("a volume cannot be mounted at `/`")


def _check_resources(resources: dict[str, Any]) -> None:
    cpu = int(resources["cpu"]["units"].removesuffix("m"))
    if not _MIN_CPU_MILLI <= cpu <= _MAX_CPU_MILLI:
        raise Unsuitable("Akash runs jobs with 0.01 to 384 cores")
    for volume in resources["storage"]:
        if int(volume["size"].removesuffix("Mi")) > MAX_STORAGE_MIB:
            raise Unsuitable("Akash has volumes of at most 32 TiB")
    gpu = resources.get("gpu")
    if gpu is None:
        return
    vendors = gpu["attributes"]["vendor"]
    if set(vendors) != {"nvidia"}:
        raise Unsuitable("Akash has GPUs of NVIDIA only")
    if not 1 <= gpu["units"] <= MAX_GPUS:
        raise Unsuitable(f"Akash gives at most {MAX_GPUS} GPUs to one job")
    for model in vendors["nvidia"] or ():
        if not _GPU_MODEL.fullmatch(model["model"]):
            raise InvalidSpec(f"`{model['model'][:60]}` is no name of a GPU model, such as `a100`")


def _check_price(amount: Decimal) -> None:
    if amount <= 0:
        raise Unsuitable("the most that may be paid is less than Akash can express")
    if amount > MAX_PRICE:
        raise Unsuitable(f"Akash takes prices of at most {MAX_PRICE} uact per block")


def _is_global(service: dict[str, Any]) -> bool:
    return any(to.get("global") for port in service["expose"] for to in port.get("to", ()))
