"""A simulated machine does not outlive the simulator that it belongs to."""

import subprocess
import sys
from pathlib import Path

from simulators.golem import guest


def test_a_machine_ends_with_its_simulator(tmp_path: Path) -> None:
    owner = subprocess.Popen(["sleep", "600"])
    machine = subprocess.Popen([sys.executable, guest.__file__, str(tmp_path), str(owner.pid)])
    try:
        with_owner = machine.poll()
        owner.kill()
        owner.wait()
        assert with_owner is None
        assert machine.wait(timeout=20) == 0
    finally:
        machine.kill()
        machine.wait()
