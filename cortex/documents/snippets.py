"""The line of a syntax error, for people, without the secrets that may stand in it."""

import re
from dataclasses import dataclass
from typing import Final

from cortex.documents.errors import Malformed
from cortex.domain.groups.spec import GroupJob, GroupSpec
from cortex.domain.names import SECRET_MASK
from cortex.domain.spec import JobSpec

_WIDTH: Final = 75
# The field, or what somebody took for it.
_SECRET = re.compile(
    r"""["']?[\w.-]*(?:secret_env[\w.-]*["']?|secret[\w.-]*["']?(?=\s*:))""", re.IGNORECASE
)
# Where a block of secrets has an alias, they stand elsewhere, and nothing is known to be harmless.
_ALIAS = re.compile(r"""(^|[\s:,\[{])\*[^\s,\]}]""")
_ENTRY = re.compile(r"""\s*(?:-\s+)*(?:["']?)(?P<key>[A-Za-z_][\w.-]*)(?:["']?)\s*:(?:\s|$)""")
_FIELDS: Final = frozenset(
    name for model in (JobSpec, GroupSpec, GroupJob) for name in model.model_fields
) - {"secret_env"}


def told(text: str, error: Malformed) -> str:
    """What is wrong, in words: without those that quote a line which may hold a secret."""
    if error.line and error.line in _secret_lines(text):
        return "it cannot be read here; put values with special characters in quotes"
    return error.message


def snippet(text: str, line: int, column: int) -> list[str]:
    """A line (from 1) and, below it, a mark at a column; nothing if all of it may be secret."""
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        return []
    shown = lines[line - 1].rstrip("\r")
    secret = _secret_lines(text).get(line)
    if secret is not None:
        shown = shown[:secret] + SECRET_MASK
        column = min(column, secret + 1)
    start = max(0, min(column - 1, len(shown)) - _WIDTH // 2)
    part = shown[start : start + _WIDTH]
    if not part.strip():
        return []
    clean = "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in part)
    return [clean.replace("\t", " "), " " * (min(column - 1, len(shown)) - start) + "^"]


def _secret_lines(text: str) -> dict[int, int]:
    """Lines (from 1) that may hold a secret, and how much of each may be shown."""
    if "secret" not in text.lower():
        return {}
    starts: dict[int, int] = {}
    block: _Block | None = None
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        begin = _SECRET.search(line)
        if begin is not None and not line.lstrip().startswith("#"):
            block = block or _Block(begin.start(), *_flow(line, begin.end()))
            starts[number] = begin.end()
        elif block is not None and block.ends(line):
            block = None
        elif block is not None:
            entry = _ENTRY.match(line)
            starts[number] = entry.end("key") if entry else 0
        if number in starts and _ALIAS.search(line, starts[number]):
            return dict.fromkeys(range(1, len(lines) + 1), 0)
    return starts


@dataclass(frozen=True)
class _Block:
    """Where secrets begin: the column of their key, in braces or not, the indent of the line."""

    column: int
    braces: bool
    indent: int

    def ends(self, line: str) -> bool:
        """Whether they are over: another field begins, no deeper than they did."""
        indent = len(line) - len(line.lstrip())
        if self.braces:
            return line.lstrip().startswith("}") and indent <= self.indent
        entry = _ENTRY.match(line)
        return line.startswith(("---", "...")) or (
            entry is not None and entry["key"] in _FIELDS and entry.start("key") <= self.column + 1
        )


def _flow(line: str, start: int) -> tuple[bool, int]:
    rest = line[start:]
    return rest.count("{") > rest.count("}"), len(line) - len(line.lstrip())
