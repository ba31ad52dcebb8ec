"""What to run, sent to a provider by whoever has the lease."""

import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from simulators.akash import sdl
from simulators.akash.gateway.pods import Place
from simulators.akash.gateway.replies import empty, go_json, json_reply, text
from simulators.kit.raw import Reply

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_NO_DEPLOYMENT = "rpc error: code = NotFound desc = deployment not found"


def read(place: Place | None) -> Reply:
    """The manifest of a lease."""
    if place is None:
        return text(404, "lease not found")
    return json_reply(200, json.loads(place.deployment.manifest))


def put(world: "AkashWorld", address: str, owner: str, dseq: str, body: bytes) -> Reply:
    """Take a manifest, or say why not; in the order of the real gateway's checks."""
    try:
        manifest = json.loads(body)
    except ValueError:
        first = body.decode(errors="replace")[:1]
        return text(422, f"invalid character '{first}' looking for beginning of value")
    if not isinstance(manifest, list):
        kind = "object" if isinstance(manifest, dict) else type(manifest).__name__
        return text(422, f"json: cannot unmarshal {kind} into Go value of type v2beta3.Manifest")
    deployment = world.book.deployments.get(dseq)
    if deployment is None or world.owner_of(deployment) != owner:
        return text(500, _NO_DEPLOYMENT)
    lease = deployment.lease
    if lease is None or not lease.live or lease.provider != address:
        return text(404, "no lease for deployment")
    why = sdl.refusal(manifest) if manifest else "manifest is empty"
    if why is not None:
        return text(422, f"invalid manifest: {why}")
    if version(manifest) != base64.b64decode(deployment.hash):
        return text(422, "manifest version validation failed")
    if lease.delivered_at is None:
        lease.delivered_at = time.time()
        world.save()
    return empty(200)


def version(manifest: Any) -> bytes:
    """The hash that the chain has of a manifest: of its JSON with sorted keys."""
    text_ = json.dumps(manifest, sort_keys=True)
    return hashlib.sha256(go_json(json.loads(text_))).digest()
