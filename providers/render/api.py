"""Dispersed's API: the calls that the driver makes, each once; errors as the contract has them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from providers.errors import OutcomeUnknown, ProviderError, Unavailable
from providers.http import HttpClient, Refused
from providers.render.signing import Keys, Signer, canonical_body, canonical_query
from providers.render.wire import WireCharge, WireJob, WireOffer, WireRun

ModelT = TypeVar("ModelT", bound=BaseModel)
_PAGE = 50
_MOST_PAGES = 400
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class DispersedApi:
    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        timeout: timedelta,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = HttpClient(
            url, who="Dispersed", auth=Signer(keys), timeout=timeout, transport=transport
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def create(self, body: dict[str, Any]) -> WireJob:
        """Submit a job. Never to be repeated blindly: the network knows no idempotency key.

        Raises:
            Refused: the network does not take such a job.
            OutcomeUnknown: it may be there.
        """
        answer = await self._send("POST", "/v1/jobs", body)
        return _one(WireJob, _inner(answer), effect=True)

    async def job(self, uuid: str) -> WireJob | None:
        """One job; None if there is none."""
        if not is_uuid(uuid):
            return None
        try:
            return _one(WireJob, _inner(await self._http.get(f"/v1/jobs/{uuid}")))
        except Refused as error:
            if error.status == 404:
                return None
            raise _unexpected(error) from error

    async def jobs_since(
        self, since: datetime, *, until: datetime | None = None, statuses: Sequence[str] = ()
    ) -> list[WireJob]:
        """All jobs of the account that were made since then, oldest first."""
        span = f"{_iso(since)},{_iso(until or datetime.now(UTC) + timedelta(hours=1))}"
        params: dict[str, str] = {"filter[created_at]": span, "sort": "created_at"}
        if statuses:
            params["filter[status]"] = ",".join(statuses)
        return await self._jobs(params)

    async def jobs(self, uuids: Sequence[str]) -> dict[str, WireJob]:
        """These jobs, in as few calls as possible; those that definitely are not are left out.

        A list may be behind: what is not in it is asked for by name.
        """
        wanted = [uuid for uuid in dict.fromkeys(uuids) if is_uuid(uuid)]
        by_uuid: dict[str, WireJob] = {}
        for start in range(0, len(wanted), _PAGE):
            part = wanted[start : start + _PAGE]
            for job in await self._jobs({"filter[uuid]": ",".join(part)}):
                by_uuid[job.uuid] = job
        for uuid in wanted:
            missing = await self.job(uuid) if uuid not in by_uuid else None
            if missing is not None:
                by_uuid[uuid] = missing
        return by_uuid

    async def cancel(self, uuid: str, reason: str) -> None:
        """Ask for the end of a job; one that is over or gone is no trouble."""
        try:
            await self._send("PUT", f"/v1/jobs/{uuid}/cancel", {"reason": reason})
        except Refused as error:
            if error.status not in (400, 404, 409, 410, 422):
                raise _unexpected(error) from error

    async def newest_run(self, job_uuid: str, *, logs: bool = True) -> WireRun | None:
        """The newest run of a job, with its logs if wanted; None if none has begun."""
        runs = await self.runs(job_uuid)
        if not runs:
            return None
        newest = max(runs, key=lambda run: run.started_at_ms or 0)
        if not logs:
            return newest
        try:
            answer = await self._http.get(f"/v1/job-runs/{newest.uuid}")
        except Refused as error:
            raise _unexpected(error) from error
        return _one(WireRun, _inner(answer))

    async def runs(self, job_uuid: str) -> list[WireRun]:
        """The runs of a job, without their logs."""
        return await self._list(WireRun, "/v1/job-runs", {"filter[job_uuid]": job_uuid})

    async def offers(self, params: dict[str, str]) -> list[WireOffer]:
        """What could be had now for such a need."""
        query = canonical_query(params)
        try:
            answer = await self._http.get(f"/v1/compute/offers{'?' if query else ''}{query}")
        except Refused as error:
            raise _unexpected(error) from error
        return _many(WireOffer, answer)

    async def charges(self, job_uuid: str) -> list[WireCharge] | None:
        """What the ledger has of a job; None where it cannot be asked so."""
        try:
            charges = await self._list(
                WireCharge, "/v1/compute/ledger/transactions", {"filter[job_uuid]": job_uuid}
            )
        except Refused:
            return None
        return [charge for charge in charges if charge.job_uuid == job_uuid]

    async def ping(self) -> None:
        """A cheap call that needs valid keys."""
        await self._page("/v1/jobs", {}, 1, limit=1)

    async def _jobs(self, params: dict[str, str]) -> list[WireJob]:
        try:
            return await self._list(WireJob, "/v1/jobs", params)
        except Refused as error:
            raise _unexpected(error) from error

    async def _list(self, model: type[ModelT], path: str, params: dict[str, str]) -> list[ModelT]:
        """All pages. A page that is not full is the last, whatever `total` says."""
        models: list[ModelT] = []
        for page in range(1, _MOST_PAGES + 1):
            items = _many(model, await self._page(path, params, page))
            models += items
            if len(items) < _PAGE:
                return models
        raise Unavailable(f"Dispersed lists more than {_PAGE * _MOST_PAGES} entries at {path}")

    async def _page(
        self, path: str, params: dict[str, str], page: int, *, limit: int = _PAGE
    ) -> Any:
        query = canonical_query({**params, "page": str(page), "limit": str(limit)})
        return await self._http.get(f"{path}?{query}")

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        headers = {"content-type": "application/json"}
        return await self._http.send(method, path, content=canonical_body(body), headers=headers)


def is_uuid(text: str) -> bool:
    """Whether a job of Dispersed can have this id."""
    return bool(_UUID.fullmatch(text))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _inner(answer: Any) -> Any:
    """The object itself: some answers wrap it in `data`."""
    if isinstance(answer, dict) and "uuid" not in answer and isinstance(answer.get("data"), dict):
        return answer["data"]
    return answer


def _one(model: type[ModelT], value: Any, *, effect: bool = False) -> ModelT:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        text = f"the answer of Dispersed is no {model.__name__.removeprefix('Wire').lower()}"
        raise (OutcomeUnknown(text) if effect else Unavailable(text)) from error


def _many(model: type[ModelT], answer: Any) -> list[ModelT]:
    items = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(items, list):
        raise Unavailable("the answer of Dispersed is no list")
    return [_one(model, entry) for entry in items]


def _unexpected(error: Refused) -> ProviderError:
    """A read that the network refuses: nothing can be said by it."""
    return Unavailable(str(error))
