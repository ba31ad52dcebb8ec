"""Reads SDL as the Console does, and what a provider checks of a manifest.

The Console's library lets through what a provider refuses later; so does this.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml

from providers.akash.sdl.manifest import manifest_json, version
from simulators.akash.errors import Refusal

_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class BadSdl(Exception):
    """The Console refuses it."""


@dataclass(frozen=True)
class Parsed:
    sdl: dict[str, Any]
    manifest: str
    hash: str
    group: str
    cap: Decimal
    attributes: dict[str, str]


def read(text: str) -> Any:
    """The YAML, by libyaml where PyYAML has it: ten times as fast.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # nosec B506


def parse(text: str) -> Parsed:
    """The document, its manifest, and what goes on the chain.

    Raises:
        BadSdl: it is none.
    """
    try:
        sdl = read(text)
        ((group, placement),) = sdl["profiles"]["placement"].items()
        (price,) = placement["pricing"].values()
        cap = Decimal(str(price["amount"]))
        if price["denom"] != "uact":
            raise BadSdl("Invalid SDL: denom")
        manifest = manifest_json(sdl)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise BadSdl(f"Invalid SDL: {type(error).__name__}") from error
    if cap > 10_000_000:
        raise BadSdl("Unit price exceeds the maximum")
    return Parsed(
        sdl, manifest, version(manifest), group, cap, dict(placement.get("attributes") or {})
    )


def parsed(text: str) -> Parsed:
    """The same, for those who answer over HTTP.

    Raises:
        Refusal: it is none.
    """
    try:
        return parse(text)
    except BadSdl as error:
        raise Refusal(400, "BadRequestError", str(error)) from error


def refusal(manifest: list[dict[str, Any]]) -> str | None:
    """Why a provider refuses a manifest; None if it does not."""
    services = [service for group in manifest for service in group["services"]]
    for service in services:
        if not _SERVICE.fullmatch(service["name"]):
            return f'service "{service["name"]}" name is invalid'
        for variable in service["env"] or ():
            if "=" not in variable:
                return "invalid environment variable"
    if not any(port["global"] for service in services for port in service["expose"] or ()):
        return "zero global services"
    return None
