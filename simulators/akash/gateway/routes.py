"""Which answer a request gets: tokens first, then paths, then the cluster."""

import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from simulators.akash import tokens
from simulators.akash.gateway import manifests, shell, streams
from simulators.akash.gateway.pods import KubeTrouble, Place, status_of
from simulators.akash.gateway.replies import denial, empty, json_reply, text
from simulators.akash.model import SimDeployment, SimLease
from simulators.akash.tokens import Scope
from simulators.kit.raw import Answer, Reply, Request

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_LEASE = re.compile(r"/lease/([^/]+)/([^/]+)/([^/]+)/(status|manifest|logs|kubeevents|shell)")
_SERVICE = re.compile(r"/lease/([^/]+)/([^/]+)/([^/]+)/service/([^/]+)/status")
_DEPLOYMENT = re.compile(r"/deployment/([^/]+)/manifest")
_SCOPES: dict[str, Scope] = {
    "status": "status",
    "manifest": "get-manifest",
    "logs": "logs",
    "kubeevents": "events",
    "shell": "shell",
}
_NO_SUCH_PATH = "404 page not found"


class Gateway:
    """One provider's."""

    def __init__(self, world: "AkashWorld", address: str) -> None:
        self._world = world
        self._address = address

    async def answer(self, request: Request) -> Answer:
        now = time.time() + self._world.book.providers[self._address].clock_skew
        header = request.headers.get("authorization")
        claims = tokens.bearer(header, now=now, accounts=self._world.accounts)
        if isinstance(claims, tokens.Denied):
            return denial(claims)
        if request.path == "/address" and request.method == "GET":
            return json_reply(200, {"address": self._address})
        for pattern, handle in self._paths():
            match = pattern.fullmatch(request.path)
            if match is not None and request.method == ("PUT" if pattern is _DEPLOYMENT else "GET"):
                return await handle(request, claims, *match.groups())
        return text(404, _NO_SUCH_PATH)

    def _paths(self) -> list[tuple[re.Pattern[str], Callable[..., Awaitable[Answer]]]]:
        return [
            (_LEASE, self._lease),
            (_SERVICE, self._service),
            (_DEPLOYMENT, self._manifest),
        ]

    async def _lease(
        self, request: Request, claims: Any, dseq: str, gseq: str, oseq: str, what: str
    ) -> Answer:
        if claims is None or not tokens.allows(claims, self._address, _SCOPES[what]):
            return denial(tokens.UNAUTHORIZED)
        bad = _bad_number(dseq, gseq, oseq)
        if bad is not None:
            return bad
        place = self._place(claims, dseq, oseq)
        if what == "status":
            return await self._status(place)
        if what == "manifest":
            return manifests.read(place)
        if what == "logs":
            return streams.logs(self._world, place, request)
        if what == "kubeevents":
            return streams.events(self._world, place, request)
        return shell.shell(self._world, place, request)

    async def _status(self, place: Place | None) -> Reply:
        if place is None:
            return empty(404)
        try:
            return json_reply(200, await status_of(self._world, place))
        except KubeTrouble as trouble:
            return text(trouble.status, trouble.text) if trouble.text else empty(trouble.status)

    async def _service(
        self, _request: Request, claims: Any, dseq: str, gseq: str, oseq: str, name: str
    ) -> Reply:
        if claims is None or not tokens.allows(claims, self._address, None):
            return denial(tokens.UNAUTHORIZED)
        bad = _bad_number(dseq, gseq, oseq)
        if bad is not None:
            return bad
        place = self._place(claims, dseq, oseq)
        if place is None:
            return text(404, "kube: lease not found")
        try:
            service = (await status_of(self._world, place))["services"].get(name)
        except KubeTrouble as trouble:
            return text(trouble.status, trouble.text)
        if service is None:
            return text(404, "kube: no service for that lease")
        return json_reply(200, service)

    async def _manifest(self, request: Request, claims: Any, dseq: str) -> Reply:
        if claims is None or not tokens.allows(claims, self._address, "send-manifest"):
            return denial(tokens.UNAUTHORIZED)
        bad = _bad_number(dseq)
        if bad is not None:
            return bad
        return manifests.put(self._world, self._address, claims["iss"], dseq, request.body)

    def _place(self, claims: Any, dseq: str, oseq: str) -> Place | None:
        """The lease, whose owner is whoever the token is of."""
        deployment: SimDeployment | None = self._world.book.deployments.get(dseq)
        for lease in deployment.leases if deployment else ():
            if (
                deployment
                and self._is(lease, oseq)
                and claims["iss"] == self._world.owner_of(deployment)
            ):
                return Place(deployment, lease)
        return None

    def _is(self, lease: SimLease, oseq: str) -> bool:
        return (
            lease.live
            and lease.delivered_at is not None
            and lease.provider == self._address
            and str(lease.oseq) == oseq
            and lease.kube != "no-manifest"
        )


def _bad_number(*words: str) -> Reply | None:
    for word in words:
        if not word.isdecimal():
            return text(400, f"strconv.ParseUint: parsing {json.dumps(word)}: invalid syntax")
    return None
