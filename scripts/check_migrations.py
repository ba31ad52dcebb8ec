"""The migrations are one history: each follows exactly one other, and no two have one number.

Two that were made at the same time do not conflict for git, and no database can be made any more.
"""

import re
import sys
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "cortex/db/migrations/versions"


def faults(folder: Path) -> list[str]:
    """What is wrong with the history in a folder, in words."""
    numbers: list[str] = []
    followed: list[str] = []
    told: list[str] = []
    for path in sorted(folder.glob("[0-9]*.py")):
        text = path.read_text()
        number = re.search(r'^revision = "(\w+)"', text, re.M)
        follows = re.search(r'^down_revision = (?:"(\w+)"|None)', text, re.M)
        if number is None or follows is None or not f"{path.stem}_".startswith(f"{number[1]}_"):
            told.append(f"{path.name}: its number or what it follows is not what its name says")
            continue
        numbers.append(number[1])
        followed.append(follows[1] or "")
    told += [f"there are {n} migrations {each}" for each, n in Counter(numbers).items() if n > 1]
    told += [f"{n} migrations follow {each}" for each, n in Counter(followed).items() if n > 1]
    told += [
        f"nothing is {each}, which one follows" for each in followed if each not in ("", *numbers)
    ]
    return told


if __name__ == "__main__":
    found = faults(FOLDER)
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)  # noqa: T201
    sys.exit(1 if found else 0)
