"""What a stored field of a job costs that API, client and command show: `restarted_at`.

It is the example in CONTRIBUTING.md. The client has it from the schema, and the answer to a
submission from the schema's defaults: neither names it.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIELD = "restarted_at"
MOST = 5
_ROOMS = ("activities", "api", "cli", "cortex", "providers", "workflows")


def naming(field: str) -> set[str]:
    """The source files that name a field; a migration is a record, and none of them."""
    return {
        str(path.relative_to(ROOT))
        for room in _ROOMS
        for path in ROOT.joinpath(room).rglob("*.py")
        if "migrations" not in path.parts
        and re.search(rf"\b{field}\b", path.read_text(encoding="utf-8"))
    }


def test_a_stored_field_touches_few_files() -> None:
    named = naming(FIELD)

    assert named, f"`{FIELD}` is gone: choose another example, here and in CONTRIBUTING.md"
    assert len(named) <= MOST, f"`{FIELD}` stands in {len(named)} files: {sorted(named)}"


def test_the_guide_lists_them() -> None:
    rows = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    row = next(row for row in rows if f"`{FIELD}`" in row)

    assert {path for path in re.findall(r"`([\w/]+\.py)`", row) if "migrations" not in path} == (
        naming(FIELD)
    )
