"""The plugin `journal`: one line of JSON in a file for each state that a job comes to."""

import asyncio
import json
from pathlib import Path
from typing import ClassVar

from cortex.plugins import Event, EventType, Plugin, PluginConfig


class JournalConfig(PluginConfig):
    """What `[plugins.journal]` holds."""

    file: Path


class Journal(Plugin[JournalConfig]):
    """Appends; an event that comes again after a crash is told from a new one by its `id`."""

    Config: ClassVar[type[PluginConfig]] = JournalConfig
    events = (EventType.JOB_SUBMITTED, EventType.JOB_STATE_CHANGED)

    async def start(self) -> None:
        self._known = await asyncio.to_thread(self._ids)

    async def on_event(self, event: Event) -> None:
        if event.id in self._known:
            return
        await asyncio.to_thread(self._append, json.dumps(event.cloudevent()))
        self._known.add(event.id)

    def _ids(self) -> set[str]:
        if not self.config.file.exists():
            return set()
        return {json.loads(line)["id"] for line in self.config.file.read_text().splitlines()}

    def _append(self, line: str) -> None:
        with self.config.file.open("a") as file:
            file.write(line + "\n")
