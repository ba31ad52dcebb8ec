"""Scaffolds a network in this repository: `make provider NAME=mynet`.

The template is `examples/plugin-provider`, which is tested like everything else: what is made runs
jobs at once, on a small HTTP network of its own, and passes the conformance suite. Then it is
changed, piece by piece, into the network that is meant.
"""

import argparse
import keyword
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = Path("examples/plugin-provider/cortex_plugin_example")
_NAME = re.compile(r"[a-z][a-z0-9_]{1,11}")
_ENTRIES = re.compile(r'(\[project\.entry-points\."cortex\.providers"\]\n)((?:\w+ = .*\n)+)')

_PAGE = """\
# The `{name}` provider

Runs jobs on {title}.

## Set-up

```toml
[providers.{name}]
type = "{name}"
url = "https://api.example.com"
token = "..."
```

## How it keeps the contract

{title} takes the lease key as the name of a job, so every call can be repeated, and what a lost
answer was about is found again by its key. The contract itself, and how a network is written, is
in [writing-a-provider.md](writing-a-provider.md).

## What is not proved

Tried against its simulator (`simulators/{name}`); no live account yet.
"""

_NEXT = """\
named `{name}` in pyproject.toml

It runs jobs at once, on an HTTP network of its own (simulators/{name}). Next:
  make dev                                           the type is known in this environment
  .venv/bin/python -m pytest tests/providers/{name}   the conformance suite
Then make provider.py and world.py your network (docs/providers/writing-a-provider.md), and say
what it is in docs/providers/{name}.md and in the table of README.md.
"""


class Refused(Exception):
    """The name cannot be had."""


def targets(name: str) -> dict[str, Path]:
    """Where everything goes, by what it is."""
    return {
        "package": Path("providers") / name,
        "simulator": Path("simulators") / name,
        "tests": Path("tests/providers") / name,
        "page": Path("docs/providers") / f"{name}.md",
    }


def check(name: str, root: Path) -> None:
    """The name is one that a network may have here.

    Raises:
        Refused: it is not, with what to do.
    """
    if not name:
        raise Refused("name the network: `make provider NAME=mynet`")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Refused(
            f"`{name}` is no name for a network: 2 to 12 lower-case letters, digits and `_`,"
            " beginning with a letter, and no word of Python, such as `mynet`"
        )
    if re.search(rf"^{name} = ", _entries(root)[2], re.M):
        raise Refused(f"there is a provider type `{name}` in pyproject.toml; choose another name")
    taken = [*targets(name).values(), Path("providers") / f"{name}.py"]
    for path in (path for path in taken if (root / path).exists()):
        raise Refused(f"`{path}` is there already; choose another name")


def scaffold(name: str, root: Path) -> list[Path]:
    """Write everything, and name it in pyproject.toml; the files that were made.

    Raises:
        Refused: the name cannot be had; nothing was written.
    """
    check(name, root)
    where = targets(name)
    title = "".join(part.capitalize() for part in name.split("_"))
    example = root / EXAMPLE
    files = {
        where["package"] / "__init__.py": _package(name, title),
        where["package"] / "provider.py": _renamed(example / "provider.py", name, title),
        where["simulator"] / "__init__.py": f'"""A stand-in for {title}."""\n',
        where["simulator"] / "world.py": _renamed(example / "queue.py", name, title),
        where["tests"] / "test_conformance.py": _renamed(
            example / "tests/test_conformance.py", name, title
        ),
        where["page"]: _PAGE.format(name=name, title=title),
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    before, head, entries, after = _entries(root)
    entry = f'{name} = "providers.{name}:{title}Provider"\n'
    (root / "pyproject.toml").write_text(f"{before}{head}{entries}{entry}{after}")
    _tidy(root, [path for path in files if path.suffix == ".py"])
    return [*files]


def _package(name: str, title: str) -> str:
    return (
        f'"""{title}: see `docs/providers/{name}.md`."""\n\n'
        f"from providers.{name}.provider import {title}Config, {title}Provider\n\n"
        f'__all__ = ["{title}Config", "{title}Provider"]\n'
    )


def _renamed(template: Path, name: str, title: str) -> str:
    """The example's file, of this network instead of the queue."""
    text = template.read_text()
    for old, new in (
        ("cortex_plugin_example.provider", f"providers.{name}"),
        ("cortex_plugin_example.queue", f"simulators.{name}.world"),
        ("    cortex-queue --", f"    python -m simulators.{name}.world --"),
        ('prog="cortex-queue"', f'prog="simulators.{name}.world"'),
    ):
        text = text.replace(old, new)
    text = re.sub(r"\b[Tt]he queue\b", title, text)
    text = re.sub(r"\b(a|A|one|One) (small HTTP )?queue\b", r"\1 \2network", text)
    text = re.sub(r"Queue(?=[A-Z]|\b)", title, text)
    return re.sub(r"(?<![a-zA-Z])queue(?![a-zA-Z])", name, text)


def _entries(root: Path) -> tuple[str, str, str, str]:
    """pyproject.toml: before the provider types, their head, the types, what follows."""
    text = (root / "pyproject.toml").read_text()
    match = _ENTRIES.search(text)
    if match is None:
        raise Refused('pyproject.toml has no [project.entry-points."cortex.providers"]')
    return text[: match.start()], match[1], match[2], text[match.end() :]


def _tidy(root: Path, paths: Iterable[Path]) -> None:
    """Imports in order, lines wrapped: another name has another length."""
    files = [str(path) for path in paths]
    for words in (("check", "--quiet", "--fix", "--select", "I,E501"), ("format", "--quiet")):
        subprocess.run([sys.executable, "-m", "ruff", *words, *files], cwd=root, check=False)


def main() -> int:
    """Scaffold the network that is named; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--root", type=Path, default=ROOT, help="Another copy of the repository.")
    given = parser.parse_args()
    try:
        made = scaffold(given.name, given.root.resolve())
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"made {path}\n" for path in made) + _NEXT.format(name=given.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
