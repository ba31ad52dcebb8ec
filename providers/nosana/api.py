"""Calls of Nosana's deployment API, with answers checked and errors typed."""

from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from providers.errors import AuthenticationFailed, OutcomeUnknown, Unavailable
from providers.http import HttpClient, Refused, message_of
from providers.nosana import wire
from providers.nosana.config import NosanaConfig

_WHO = "Nosana"
_PAGE = 100
# A list that never ends is a fault of the network: nobody has this many deployments.
_MOST_PAGES = 1000
_WRONG_STATES = (
    "Deployment is in the incorrect state.",
    "Cannot modify an archived deployment.",
)
_GONE = ("Deployment not found.", "Job not found")
_MARKETS: TypeAdapter[tuple[wire.Market, ...]] = TypeAdapter(tuple[wire.Market, ...])
ModelT = TypeVar("ModelT", bound=BaseModel)


class WrongState(Refused):
    """The deployment is not in a state for that. It may be in a moment, or never."""


class Gone(Refused):
    """The service says that there is no such thing. Any other 404 may be of somebody between."""


class _Client(HttpClient):
    def check(self, response: httpx.Response, *, effect: bool = False) -> None:
        """As ever; but of a refused key the network says no more than `Unauthorized`, and a wrong
        state is a 500, though nothing has happened (recorded).
        """
        if response.status_code in (401, 403):
            raise AuthenticationFailed(
                f"{self.who} refuses the API key; make one in its dashboard and set `api_key`"
            )
        if response.status_code == 500 and message_of(response) in _WRONG_STATES:
            raise WrongState(500, f"{self.who}: {message_of(response)}")
        if response.status_code == 404 and message_of(response) in _GONE:
            raise Gone(404, f"{self.who}: {message_of(response)}")
        super().check(response, effect=effect)


class NosanaApi:
    """One account."""

    def __init__(self, config: NosanaConfig) -> None:
        headers = {"Authorization": f"Bearer {config.api_key.get_secret_value()}"}
        self._http = _Client(config.url, who=_WHO, headers=headers)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def create(self, body: dict[str, Any]) -> wire.Deployment:
        """Make a deployment; with `autostart` it is started at once.

        Raises:
            Refused: the job definition is not valid there; which field is wrong is not told.
        """
        answer = await self._http.send("POST", "/api/deployments/create", json=body)
        return _checked(wire.Deployment, answer, effect=True)

    async def act(self, deployment_id: str, what: str) -> None:
        """`start` or `stop` a deployment.

        Raises:
            WrongState: it is not in the state for that.
            Gone: there is no such deployment.
        """
        # A content type with an empty body is answered 500 (recorded), so none is sent.
        await self._http.send("POST", f"/api/deployments/{deployment_id}/{what}")

    async def delete(self, deployment_id: str) -> None:
        """Remove a stopped deployment for ever.

        Raises:
            WrongState: it is not stopped.
            Gone: there is no such deployment.
        """
        await self._http.call("DELETE", f"/api/deployments/{deployment_id}", effect=True)

    async def deployment(self, deployment_id: str) -> wire.Deployment | None:
        """One deployment; None if there is none with this id."""
        answer = await self._get_or_none(f"/api/deployments/{deployment_id}")
        return None if answer is None else _checked(wire.Deployment, answer)

    async def deployments(self, **query: str) -> list[wire.Deployment]:
        """All deployments that the query fits, oldest first: every page, or an error."""
        params = {**query, "limit": str(_PAGE), "sort_order": "asc"}
        by_id: dict[str, wire.Deployment] = {}
        for _ in range(_MOST_PAGES):
            answer = await self._read("/api/deployments", params=params)
            page = _checked(wire.DeploymentPage, answer)
            by_id |= {deployment.id: deployment for deployment in page.deployments}
            if not page.pagination.cursor_next:
                return sorted(
                    by_id.values(), key=lambda deployment: (deployment.created_at, deployment.id)
                )
            params["cursor"] = page.pagination.cursor_next
        raise Unavailable(f"the list of deployments of {_WHO} does not end")

    async def jobs(self, deployment_id: str) -> list[wire.Job]:
        """The runs of a deployment, oldest first."""
        params = {"limit": str(_PAGE), "sort_order": "asc"}
        answer = await self._get_or_none(f"/api/deployments/{deployment_id}/jobs", params=params)
        return [] if answer is None else list(_checked(wire.JobPage, answer).jobs)

    async def job(self, deployment_id: str, job_id: str) -> wire.JobDetail | None:
        """One run with its result."""
        answer = await self._get_or_none(f"/api/deployments/{deployment_id}/jobs/{job_id}")
        return None if answer is None else _checked(wire.JobDetail, answer)

    async def markets(self) -> list[wire.Market]:
        """All markets, whatever their type."""
        try:
            return list(_MARKETS.validate_python(await self._read("/api/markets/")))
        except ValidationError as error:
            raise _not_understood(error, effect=False) from None

    async def balance(self) -> wire.Balance:
        """The credits of the account, in USD."""
        return _checked(wire.Balance, await self._read("/api/credits/balance"))

    async def _get_or_none(self, path: str, **options: Any) -> Any:
        """None only if the service says that there is no such thing."""
        try:
            answer = await self._http.get(path, **options)
        except Gone:
            return None
        except Refused as error:
            raise Unavailable(str(error)) from None
        if answer is None:
            raise Unavailable(f"an answer of {_WHO} is not understood (it is empty)")
        return answer

    async def _read(self, path: str, **options: Any) -> Any:
        try:
            return await self._http.get(path, **options)
        except Refused as error:
            raise Unavailable(str(error)) from None


def _checked(model: type[ModelT], answer: Any, *, effect: bool = False) -> ModelT:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise _not_understood(error, effect=effect) from None


def _not_understood(error: ValidationError, *, effect: bool) -> Unavailable | OutcomeUnknown:
    """The place, never the value: an answer may hold secrets of a job."""
    where = ".".join(str(part) for part in error.errors()[0]["loc"])
    text = f"an answer of {_WHO} is not understood (at `{where}`)"
    return OutcomeUnknown(text) if effect else Unavailable(text)
