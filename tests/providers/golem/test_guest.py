"""A simulated machine outlives the simulator, and ends when its folder is gone."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from providers.conformance import Patience
from simulators.golem import guest
from tests.support import patience


def test_a_machine_ends_with_its_folder(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    machine = subprocess.Popen([sys.executable, guest.__file__, str(spool)])
    try:
        waiting = Patience(20)
        while not (spool / "up").exists() and not waiting.over:
            time.sleep(0.01)
        there = machine.poll()
        shutil.rmtree(spool)
        assert there is None
        assert machine.wait(timeout=patience(20)) == 0
    finally:
        machine.kill()
        machine.wait()
