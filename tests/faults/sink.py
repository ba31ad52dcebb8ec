"""A webhook sink: keeps every event that a plugin posts to it, and fails now and then.

The plugin is a package of its own (`install` writes it), found by real workers through its entry
point. What the sink got is compared with the table `events`: all there, in order for each job.
"""

import random
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulators.kit.serve import serving

_PLUGIN = '''
import httpx

from cortex.plugins import Away, Event, Plugin, PluginConfig


class Config(PluginConfig):
    url: str


class Post(Plugin[Config]):
    """Posts every event as a CloudEvent."""

    Config = Config
    from_start = True

    async def start(self) -> None:
        self.http = httpx.AsyncClient(timeout=4)

    async def aclose(self) -> None:
        if hasattr(self, "http"):
            await self.http.aclose()

    async def on_event(self, event: Event) -> None:
        kind = {"content-type": "application/cloudevents+json"}
        try:
            answer = await self.http.post(self.config.url, json=event.cloudevent(), headers=kind)
        except httpx.TransportError as error:
            raise Away(f"no answer: {type(error).__name__}") from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Away(f"it answered {answer.status_code}")
        answer.raise_for_status()
'''
_METADATA = "Metadata-Version: 2.1\nName: cortex-webhook-sink\nVersion: 1.0.0\n"
_ENTRY = "[cortex.plugins]\nsink = cortex_webhook_sink:Post\n"


def install(folder: Path) -> Path:
    """Write the plugin as an installed package; the folder belongs on `PYTHONPATH`."""
    about = folder / "cortex_webhook_sink-1.0.0.dist-info"
    about.mkdir(parents=True)
    (folder / "cortex_webhook_sink.py").write_text(_PLUGIN)
    (about / "METADATA").write_text(_METADATA)
    (about / "entry_points.txt").write_text(_ENTRY)
    return folder


def settings(site: Path, url: str) -> dict[str, str]:
    """The environment of workers that post to the sink."""
    return {
        "PYTHONPATH": str(site),
        "CORTEX_PLUGINS__SINK__URL": url,
        "CORTEX_PLUGIN_DELIVERY__FIRST_WAIT": "50ms",
        "CORTEX_PLUGIN_DELIVERY__LONGEST_WAIT": "1s",
        "CORTEX_PLUGIN_DELIVERY__TIMEOUT": "5s",
    }


class Told(BaseModel):
    """The part of a CloudEvent that is checked."""

    specversion: str
    id: str
    type: str
    subject: str


@dataclass
class Sink:
    """What arrived, in order. Some deliveries are refused, of some the answer is lost."""

    chance: random.Random
    refuse: float = 0.02
    lose: float = 0.02
    down: bool = False
    got: list[Told] = field(default_factory=list)
    refused: int = 0
    lost: int = 0
    url: str = ""

    async def take(self, request: Request) -> Response:
        if self.down or self.chance.random() < self.refuse:
            self.refused += 1
            return Response(status_code=503)
        try:
            told = Told.model_validate_json(await request.body())
        except ValidationError:
            return Response(status_code=400)
        self.got.append(told)
        if self.chance.random() < self.lose:
            self.lost += 1
            return Response(status_code=502)
        return Response(status_code=204)

    def missing(self, events: Iterable[Mapping[str, object]]) -> set[str]:
        """The ids of events that never arrived."""
        return {str(event["id"]) for event in events} - {told.id for told in self.got}

    def problems(self, events: Iterable[Mapping[str, object]]) -> list[str]:
        """What of the promise is broken, for rows of `events` in their order.

        An event that comes again proves nothing; the first coming of each must be in order.
        """
        rows = list(events)
        problems = [f"the event {lost} never arrived" for lost in sorted(self.missing(rows))]
        first: dict[str, int] = {}
        for place, told in enumerate(self.got):
            first.setdefault(told.id, place)
        last: dict[str, tuple[int, str]] = {}
        for row in rows:
            job, event = str(row["job_id"] or row["subject"]), str(row["id"])
            if event not in first:
                continue
            before = last.get(job, (-1, ""))
            if first[event] < before[0]:
                problems.append(f"{job}: {event} arrived before {before[1]}, which is older")
            last[job] = (first[event], event)
        known = {str(row["id"]) for row in rows}
        problems += [
            f"the event {told.id} is in no book" for told in self.got if told.id not in known
        ]
        return problems


@asynccontextmanager
async def sink(seed: str, *, refuse: float = 0.02, lose: float = 0.02) -> AsyncIterator[Sink]:
    """Serve a sink that fails by this seed."""
    made = Sink(random.Random(seed), refuse, lose)
    app = Starlette(routes=[Route("/events", made.take, methods=["POST"])])
    async with serving(app) as url:
        made.url = f"{url}/events"
        yield made


@asynccontextmanager
async def importable(site: Path) -> AsyncIterator[None]:
    """The plugin is installed in this process, too."""
    sys.path.insert(0, str(site))
    try:
        yield
    finally:
        sys.path.remove(str(site))
        sys.modules.pop("cortex_webhook_sink", None)
