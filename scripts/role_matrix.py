"""Write the table of roles in `docs/security.md` from the policy. Part of `make format`."""

from pathlib import Path

from cortex.domain.rights import IN_PROJECTS, POLICY, Action, Role

_GUIDE = Path(__file__).parents[1] / "docs/security.md"
_BEGIN, _END = "<!-- roles: made by scripts/role_matrix.py -->\n", "<!-- end of roles -->"


def written(guide: str) -> str:
    """The guide with today's table in its place."""
    before, _, rest = guide.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise SystemExit(f"{_GUIDE.name} has no place for the table: {_BEGIN!r} ... {_END!r}")
    return f"{before}{_BEGIN}\n{_table()}\n{end}{after}"


def _table() -> str:
    roles = list(Role)
    rows = [["Action", *roles, "in projects"], ["---"] * (len(roles) + 2)]
    for action in Action:
        reaches = [POLICY[role].get(action) for role in roles]
        cells = [reach.value if reach else "" for reach in reaches]
        rows.append([f"`{action.value}`", *cells, "yes" if action in IN_PROJECTS else ""])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    _GUIDE.write_text(written(_GUIDE.read_text()))
