"""Make the blocking client from the asynchronous one; with `--check`, only say what differs.

The two are the same, method by method: one is written, the other is derived. Run by
`make format`; `make lint` fails if somebody has changed a derived file by hand.
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "cortex" / "client"
ASYNC, BLOCKING = CLIENT / "_async", CLIENT / "_sync"
_RULES = (
    (r"\bimport asyncio\nimport time\b", "import time"),
    (r"\bimport asyncio\b", "import time"),
    (r"\basyncio\.sleep", "time.sleep"),
    (r"\basync (?=def|with|for)", ""),
    (r"\bawait ", ""),
    (r"\bAsync(?=Iterator|Transport|Cortex|[A-Z]\w*Calls)", ""),
    (r"\bcortex\.client\._async\b", "cortex.client._sync"),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\basynchronous client\b", "blocking client"),
    (r"\bas the blocking one\b", "as the asynchronous one"),
    (r"( *)for (\w+) in (.+):\n +yield \2\n", r"\1yield from \3\n"),
)


def derived(source: str, name: str) -> str:
    """The blocking twin of an asynchronous module, formatted.

    Raises:
        subprocess.CalledProcessError: the source is no Python.
    """
    header, rest = source.split('"""\n', 1)
    made = f"# Made from _async/{name} by `make format`; change that one."
    text = f'{header}"""\n{made}\n{rest}'
    for pattern, replacement in _RULES:
        text = re.sub(pattern, replacement, text)
    for command in (
        ("check", "--fix", "--quiet", "--select", "I"),
        ("format", "--quiet"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(BLOCKING / name), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = done.stdout
    return text


def main(arguments: list[str]) -> int:
    """Write the derived files, or with `--check` compare them. Returns the exit code."""
    stale = []
    for source in sorted(ASYNC.glob("*.py")):
        target = BLOCKING / source.name
        made = derived(source.read_text(encoding="utf-8"), source.name)
        if not target.exists() or target.read_text(encoding="utf-8") != made:
            stale.append(target)
            if "--check" not in arguments:
                target.write_text(made, encoding="utf-8")
    if stale and "--check" in arguments:
        names = ", ".join(path.name for path in stale)
        sys.stderr.write(f"not as made from their asynchronous twins: {names}; run `make format`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
