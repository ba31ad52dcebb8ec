"""What the shim tells the world: `status.json`, and a bell for those who wait."""

import json
import os
import time

from providers.local.shim.processes import process_stat


class Status:
    """`status.json`: replaced as a whole, so that a reader never sees half of it."""

    def __init__(self, folder: str, bell: str) -> None:
        self.folder, self.bell = folder, bell
        self.path = os.path.join(folder, "status.json")
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        self.fields: dict[str, object] = {
            "state": "starting",
            "pid": os.getpid(),
            "ticks": int(process_stat("self")[19]),
            "boot": boot,
            "started_at": time.time(),
        }

    def write(self, *, sync: bool = False, **changes: object) -> None:
        self.fields.update(changes)
        data = json.dumps(self.fields).encode()
        temporary = self.path + ".new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, self.path)
        if sync:
            folder = os.open(self.folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        self.ring()

    def write_last(self, **changes: object) -> None:
        """As `write`, on a full disk too: the block of the present file can be overwritten."""
        while True:
            try:
                self.write(sync=True, **changes)
                return
            except OSError:
                pass
            try:
                data = json.dumps(self.fields).encode()
                fd = os.open(self.path, os.O_WRONLY)
                os.pwrite(fd, data, 0)
                os.ftruncate(fd, len(data))
                os.close(fd)
                self.ring()
                return
            except FileNotFoundError:
                return  # Forgotten meanwhile.
            except OSError:
                time.sleep(1)

    def ring(self) -> None:
        try:
            os.close(os.open(self.bell, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError:
            return
