"""Is anything that is pinned known to be unsafe? A part of `make security`.

Asks pip-audit, which needs the advisories of PyPI. Where they cannot be reached, the pins are
compared with those that the package `safety-db` carries: they end with its version, and that is
said.
"""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet

_ROOT = Path(__file__).parents[1]
_FILES = ("requirements.txt", "requirements-server.txt")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;#]+)", re.MULTILINE)


def main() -> int:
    """0: nothing is known against them."""
    pins = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for file in _FILES
        for name, version in _PIN.findall((_ROOT / file).read_text())
    }
    told, source = _online(pins), "PyPI"
    if told is None:
        told, source = _carried(pins), f"safety-db {metadata.version('safety-db')}"
        sys.stdout.write("the advisories of PyPI cannot be reached\n")
    head = f"{len(pins)} pins, {len(told)} of them unsafe by the advisories of {source}"
    sys.stdout.write("\n".join([head, *told, ""]))
    return int(bool(told))


def _online(pins: dict[str, str]) -> list[str] | None:
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format=json"]
    files = [f"--requirement={_ROOT / file}" for file in _FILES]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    known = [answer for answer in answers if "skip_reason" not in answer]
    if len(known) < len(pins) // 2:
        return None
    return [
        f"{answer['name']} {answer['version']}: {', '.join(each['id'] for each in answer['vulns'])}"
        for answer in known
        if answer["vulns"]
    ]


def _carried(pins: dict[str, str]) -> list[str]:
    # Not imported: its `__init__` reads a file of the folder that one is in.
    file = metadata.distribution("safety-db").locate_file("safety_db/insecure.json")
    advisories: dict[str, list[str]] = json.loads(Path(str(file)).read_text())
    return [
        f"{name} {version}: {specifier}"
        for name, version in pins.items()
        for specifier in advisories.get(name, ())
        if SpecifierSet(specifier, prereleases=True).contains(version)
    ]


if __name__ == "__main__":
    sys.exit(main())
