"""The manifest: what a provider is sent, in the one form whose hash is on the chain.

The Console answers a creation with it. When that answer is lost it is made again here: the same
text to the last byte, or the provider refuses it (`test_manifest_oracle.py` compares it with the
network's own library).

Between reserving and starting a job only its lease's reference is passed on, perhaps to another
process. The manifest travels in it, readable only with the account's API key.
"""

import base64
import hashlib
import hmac
import json
import zlib
from decimal import ROUND_CEILING, Decimal
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_HTTP_OPTIONS = {
    "maxBodySize": 1048576,
    "nextCases": ["error", "timeout"],
    "nextTimeout": 0,
    "nextTries": 3,
    "readTimeout": 60000,
    "sendTimeout": 60000,
}
_RANDOM_PORT = 1


def manifest_json(sdl: dict[str, Any]) -> str:
    """The manifest of an SDL document with one service in each placement."""
    groups = []
    for placement in sorted(sdl["profiles"]["placement"]):
        services = [
            _service(sdl, name, places[placement])
            for name, places in sorted(sdl["deployment"].items())
            if placement in places
        ]
        groups.append({"name": placement, "services": services})
    text = json.dumps(groups, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    for char, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(char, escape)
    return text


def version(manifest: str) -> str:
    """The hash that the chain keeps of a manifest (`deployment.hash`)."""
    return base64.b64encode(hashlib.sha256(manifest.encode()).digest()).decode()


def encrypt_manifest(manifest: str, api_key: str, lease_key: str) -> str:
    """The manifest, readable with the account's API key only, and bound to its lease.

    The same manifest always becomes the same text: its nonce is made from it.
    """
    data = zlib.compress(manifest.encode(), 9)
    key = _manifest_key(api_key)
    nonce = hmac.new(key, lease_key.encode() + b"\0" + data, hashlib.sha256).digest()[:12]
    encrypted = AESGCM(key).encrypt(nonce, data, lease_key.encode())
    return base64.urlsafe_b64encode(nonce + encrypted).decode()


def decrypt_manifest(text: str, api_key: str, lease_key: str) -> str | None:
    """The manifest again; None if it was encrypted with another key of the account."""
    try:
        raw = base64.urlsafe_b64decode(text)
        data = AESGCM(_manifest_key(api_key)).decrypt(raw[:12], raw[12:], lease_key.encode())
        return zlib.decompress(data).decode()
    except (ValueError, InvalidTag, zlib.error):
        return None


def _service(sdl: dict[str, Any], name: str, deployed: dict[str, Any]) -> dict[str, Any]:
    given = sdl["services"][name]
    compute = sdl["profiles"]["compute"][deployed["profile"]]["resources"]
    login = given.get("credentials")
    service = {
        "name": name,
        "image": given["image"],
        "command": given.get("command") or None,
        "args": given.get("args") or None,
        "env": given.get("env") or None,
        "resources": _resources(compute, given.get("expose") or []),
        "count": deployed["count"],
        "expose": _expose(given.get("expose") or []),
        "credentials": {"email": "", **login} if login else None,
    }
    if given.get("params"):
        storage = given["params"].get("storage") or {}
        service["params"] = {
            "storage": [
                {
                    "name": volume,
                    "mount": storage[volume].get("mount", ""),
                    "readOnly": storage[volume].get("readOnly", False),
                }
                for volume in sorted(storage)
            ]
        }
    return service


def _resources(compute: dict[str, Any], expose: list[dict[str, Any]]) -> dict[str, Any]:
    gpu = compute.get("gpu") or {}
    units: dict[str, Any] = {"units": {"val": str(gpu.get("units", 0))}}
    attributes = gpu_attributes(gpu)
    if attributes:
        units["attributes"] = attributes
    return {
        "id": 1,
        "cpu": {"units": {"val": milli(compute["cpu"]["units"])}},
        "memory": {"size": {"val": size_of(compute["memory"]["size"])}},
        "storage": [_storage(volume) for volume in compute["storage"]],
        "gpu": units,
        "endpoints": _endpoints(expose),
    }


def _storage(volume: dict[str, Any]) -> dict[str, Any]:
    storage: dict[str, Any] = {
        "name": volume.get("name") or "default",
        "size": {"val": size_of(volume["size"])},
    }
    attributes = storage_attributes(volume)
    if attributes:
        storage["attributes"] = attributes
    return storage


def _expose(expose: list[dict[str, Any]]) -> list[dict[str, Any]]:
    exposed = [
        {
            "port": port["port"],
            "externalPort": port.get("as", 0),
            "proto": port.get("proto", "tcp").upper(),
            "service": to.get("service", ""),
            "global": to.get("global", False),
            "hosts": port.get("accept") or None,
            "httpOptions": _HTTP_OPTIONS,
            "ip": "",
            "endpointSequenceNumber": 0,
        }
        for port in expose
        for to in port.get("to", ())
    ]
    fields = ("service", "port", "proto")
    return sorted(
        exposed, key=lambda entry: (*(entry[name] for name in fields), not entry["global"])
    )


def _endpoints(expose: list[dict[str, Any]]) -> list[dict[str, int]]:
    kinds = [
        0 if is_ingress(port) else _RANDOM_PORT
        for port in expose
        for to in port.get("to", ())
        if to.get("global")
    ]
    # A kind of nought, a web address, is not written.
    return [{"sequence_number": 0, **({"kind": kind} if kind else {})} for kind in kinds]


def is_ingress(port: dict[str, Any]) -> bool:
    """Whether an exposed port gets a web address; the others get a port of the provider."""
    return bool(port.get("proto", "tcp").upper() == "TCP" and port.get("as", port["port"]) == 80)


def gpu_attributes(gpu: dict[str, Any]) -> list[dict[str, str]]:
    """The GPU models of a compute profile as the chain writes them."""
    vendors = (gpu.get("attributes") or {}).get("vendor") or {}
    attributes = []
    for vendor in sorted(vendors):
        if vendors[vendor] is None:
            attributes.append({"key": f"vendor/{vendor}/model/*", "value": "true"})
        for model in vendors[vendor] or ():
            key = f"vendor/{vendor}/model/{model['model']}"
            for part in ("ram", "interface"):
                key += f"/{part}/{model[part]}" if model.get(part) else ""
            attributes.append({"key": key, "value": "true"})
    return attributes


def storage_attributes(volume: dict[str, Any]) -> list[dict[str, str]]:
    """The attributes of a volume as the chain writes them."""
    attributes = volume.get("attributes") or {}
    return [{"key": key, "value": _word(attributes[key])} for key in sorted(attributes)]


def milli(units: str | int | float) -> str:
    """Thousandths of a core."""
    text = str(units)
    value = Decimal(text.removesuffix("m")) * (1 if text.endswith("m") else 1000)
    return f"{value.normalize():f}"


def size_of(text: str) -> str:
    """Bytes of a size such as `512Mi` or `2G`."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text[len(number) :].lower()
    base = 1024 if unit.endswith("i") else 1000
    value = Decimal(number) * base ** _POWERS[unit[0]]
    return str(value.to_integral_value(ROUND_CEILING))


def _word(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _manifest_key(api_key: str) -> bytes:
    return hashlib.sha256(b"cortex akash manifest\0" + api_key.encode()).digest()
