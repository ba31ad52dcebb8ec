"""A simulated network with all that a driver needs around it: a drop box, a server of scenes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from api.drop import DropMiddleware
from providers.dropbox import DropBox
from providers.render import RenderConfig
from providers.render.dispersed import Dispersed
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from simulators.render import RenderSettings, RenderWorld
from simulators.render.settings import PUBLIC_KEY, SECRET_KEY

SECRET = b"the drop box of the tests"


class Network:
    """Where it is, and what it is made of."""

    def __init__(self, url: str, site: str, folder: Path, world: RenderWorld) -> None:
        self.url, self.site, self.folder, self.world = url, site, folder, world

    async def dispersed(self, *, drop: bool = True, **changes: Any) -> Dispersed:
        """A provider; to be closed by the caller."""
        config = RenderConfig.model_validate(
            {
                "driver": "dispersed",
                "url": self.url,
                "public_key": PUBLIC_KEY,
                "secret_key": SECRET_KEY,
                "blender_image": "cortex/blender:5",
                "state_dir": self.folder / "state",
                "poll_interval": "0.5s",
                **changes,
            }
        )
        made = Dispersed("render", config)
        made.drop = DropBox(self.site, SECRET) if drop else None
        await made.initialize()
        return made

    async def act(self, action: str, **args: Any) -> None:
        """Let something happen."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            answer = await client.post("/_sim/world", json={"action": action, "args": args})
        assert answer.is_success, answer.text

    async def fault(self, **rule: Any) -> None:
        """Set one rule of the fault plan."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            assert (await client.put("/_sim/faults", json=[rule])).is_success

    async def calls(self, method: str, path: str) -> int:
        """How often a call was made."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            calls = (await client.get("/_sim/calls")).json()
        return sum(call["method"] == method and call["path"] == path for call in calls)


@asynccontextmanager
async def simulated(folder: Path, **settings: Any) -> AsyncIterator[Network]:
    """Serve it all; nothing of it runs afterwards."""
    (folder / "scenes").mkdir()
    quick: dict[str, Any] = {
        "assign_delay": 0.0,
        "start_delay": 0.0,
        "tick": 0.03,
        "stop_grace": 1.0,
        "stand_in": True,
        "dearer_every": 0,
    }
    runs = Runs(folder / "runs", grace=timedelta(seconds=0.1))
    world = RenderWorld(folder, Clock(), runs, RenderSettings.model_validate({**quick, **settings}))
    site = FastAPI()
    site.mount("/scenes", StaticFiles(directory=folder / "scenes"))

    async def arrived(_key: str, _name: str) -> None:
        return None

    drop = DropMiddleware(site, folder=folder / "drop", secret=SECRET, limit=10**8, arrived=arrived)
    async with serving(make_app(world)) as url, serving(drop) as address:
        try:
            yield Network(url, address, folder, world)
        finally:
            await world.end_all()
