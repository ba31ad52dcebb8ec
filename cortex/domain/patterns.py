"""Names of files to keep, as jobs declare them: paths, and patterns of paths.

The rule, the same on every network:

- `*` is any number of characters of one name, `?` one character, `[abc]`, `[a-z]` one of these,
  `[!abc]` one that is none of these. None of them matches a `/`, nor a dot that begins a name.
- `**` as a whole part is any number of folders, none too; not hidden ones, nor links to folders.
- What matches and is a folder is kept whole, hidden files as well.
- A file whose name is the pattern, letter by letter, matches too.

Names are bytes: a character is a byte that begins one, with the bytes 0x80 to 0xBF that follow.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

ANY_FOLDERS = b"**"
MAGIC = re.compile(rb"[*?\[]")
_TAIL = rb"[\x80-\xbf]*"
_ONE = rb"[^/\x80-\xbf]" + _TAIL
_CONTINUED = re.compile(rb"[\x80-\xbf]")
_CHARACTER = re.compile(rb"[^\x80-\xbf][\x80-\xbf]*", re.DOTALL)


@dataclass(frozen=True)
class OutputPattern:
    """One declared output."""

    text: str

    @cached_property
    def literal(self) -> bytes:
        """The path without `.` and double slashes; absolute if it was."""
        raw = self.text.encode("utf-8", "surrogateescape")
        path = b"/".join(part for part in raw.split(b"/") if part not in (b"", b"."))
        return b"/" + path if raw.startswith(b"/") else path

    @property
    def safe(self) -> bool:
        """Whether it names something that is not the folder above, nor the root."""
        parts = self.literal.split(b"/")
        return b".." not in parts and b"\0" not in self.literal and bool(self.literal.strip(b"/"))

    @cached_property
    def parts(self) -> tuple[bytes, ...]:
        """Its parts as patterns; none if it is a plain path. `**` stands only before another."""
        parts: list[bytes] = []
        for part in self.literal.strip(b"/").split(b"/"):
            if part != ANY_FOLDERS or parts[-1:] != [ANY_FOLDERS]:
                parts.append(part)
        while parts and parts[-1] == ANY_FOLDERS:
            parts.pop()
            if not parts:
                parts = [b"*"]  # `**` alone: all that there is
        literal = tuple(self.literal.strip(b"/").split(b"/"))
        return tuple(parts) if tuple(parts) != literal or is_pattern(self.text) else ()

    @property
    def absolute(self) -> bool:
        return self.literal.startswith(b"/")

    @property
    def fixed(self) -> bytes:
        """The folder in which a pattern is looked for: its parts before the first with a `*`."""
        fixed: list[bytes] = []
        for part in self.parts:
            if MAGIC.search(part):
                break
            fixed.append(part)
        return b"/".join(fixed)

    def shell_form(self) -> bytes:
        """The pattern for `case` in a shell that knows bytes only, over names without the bytes
        0x80 to 0xBF; empty for a plain path. It may match a little more, never less.
        """
        form = b"/".join(p if p == ANY_FOLDERS else _shell_part(p) for p in self.parts)
        return b"/" + form if form and self.absolute else form


def is_pattern(text: str) -> bool:
    """Whether it has a character with a meaning."""
    return bool(MAGIC.search(text.encode("utf-8", "surrogateescape")))


def fits(name: bytes, part: bytes) -> bool:
    """Whether one name matches one part of a pattern."""
    if name.startswith(b".") and not part.startswith(b"."):
        return False
    return _regex(part).fullmatch(name) is not None


def packed_form(outputs: tuple[str, ...]) -> str:
    """The declared outputs for the script that packs them: each path, its `shell_form`."""
    words: list[bytes] = []
    for pattern in map(OutputPattern, outputs):
        if pattern.safe:
            words += [pattern.literal, pattern.shell_form()]
    return b"".join(word + b"//" for word in words).decode("utf-8", "surrogateescape")


def related(pattern: str, path: str) -> bool:
    """Whether a path may be among what a declared output matches, or above or below it."""
    parsed = OutputPattern(pattern)
    wanted = PurePosixPath(path)
    plain = PurePosixPath(parsed.literal.decode("utf-8", "surrogateescape"))
    if wanted.is_relative_to(plain) or plain.is_relative_to(wanted):
        return True
    names = [part.encode("utf-8", "surrogateescape") for part in wanted.parts]
    for number, part in enumerate(parsed.parts):
        if part == ANY_FOLDERS or number >= len(names):
            return True
        if not fits(names[number], part):
            return False
    return bool(parsed.parts)


_known: dict[bytes, re.Pattern[bytes]] = {}


def _regex(part: bytes) -> re.Pattern[bytes]:
    regex = _known.get(part)
    if regex is None:
        if len(_known) > 500:
            _known.clear()
        regex = _known[part] = re.compile(b"".join(map(_piece, _tokens(part))), re.DOTALL)
    return regex


def _tokens(part: bytes) -> list[bytes]:
    """The characters of a part; a set of characters is one."""
    tokens, rest = [], part
    while rest:
        end = _set_end(rest)
        size = end or (len(match[0]) if (match := _CHARACTER.match(rest)) else 1)
        tokens.append(rest[:size])
        rest = rest[size:]
    return tokens


def _set_end(rest: bytes) -> int:
    """The length of the set that stands at the beginning; 0: there is none."""
    if not rest.startswith(b"["):
        return 0
    start = 2 if rest[1:2] == b"!" else 1
    return rest.find(b"]", start + 1) + 1


def _piece(token: bytes) -> bytes:
    if token == b"*":
        return rb"[^/]*"
    if token == b"?":
        return _ONE
    if not _is_set(token):
        return re.escape(token)
    inner = token[1:-1]
    negated = inner.startswith(b"!")
    options = b"|".join(_options(inner[1:] if negated else inner))
    # Not one of these characters as a whole: their first bytes may be the same.
    return (
        b"(?!(?:" + options + rb")(?![\x80-\xbf]))" + _ONE if negated else b"(?:" + options + b")"
    )


def _is_set(token: bytes) -> bool:
    return len(token) > 2 and token.startswith(b"[")


def _options(inner: bytes) -> list[bytes]:
    letters = _CHARACTER.findall(inner)
    options: list[bytes] = []
    while letters:
        first = letters.pop(0)
        if len(letters) >= 2 and letters[0] == b"-":
            last = letters[1]
            del letters[:2]
            if len(first) == len(last) == 1:
                if first <= last:
                    options.append(b"[" + re.escape(first) + b"-" + re.escape(last) + b"]")
                continue
            options += _between(first, last)
        else:
            options.append(re.escape(first))
    return options or [b"(?!)"]


def _between(first: bytes, last: bytes) -> list[bytes]:
    """A range of characters beyond ASCII, such as `[а-я]`; at most a thousand of them."""
    low, high = (ord(x.decode("utf-8", "replace")[0]) for x in (first, last))
    return [
        re.escape(chr(n).encode("utf-8", "replace")) for n in range(low, min(high, low + 999) + 1)
    ]


def _shell_part(part: bytes) -> bytes:
    return b"".join(map(_shell_token, _tokens(part)))


def _shell_token(token: bytes) -> bytes:
    if token in (b"*", b"?"):
        return token
    if _is_set(token):
        # Shells differ in classes, in `^` and in `\`; a set with more than plain ones is widened.
        plain = re.fullmatch(rb"\[!?[A-Za-z0-9_.-]+\]", token)
        return token if plain else b"?"
    if token in (b"\\", b"["):
        return b"?"
    return _CONTINUED.sub(b"", token)
