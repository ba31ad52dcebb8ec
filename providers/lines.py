"""What a line of output is, the same for every provider.

Only a newline ends a line. A carriage return goes back to its beginning, so of what a progress bar
writes the last state is the line. Bytes that are no UTF-8, and NUL, which databases refuse, become
U+FFFD. Nothing is left out of a long line: it is given as several.
"""

from collections.abc import Iterator

MAX_LINE = 256 * 1024
"""The most bytes of output, as the job wrote them, that one `LogLine` has."""


def text_of(raw: bytes) -> str:
    """A line without its newline as a user sees it."""
    return last_state(raw.decode("utf-8", "replace")).replace("\0", "\ufffd")


def last_state(line: str) -> str:
    """What is left of a line after its carriage returns: the last state that is not empty."""
    if "\r" not in line:
        return line
    return line.rstrip("\r").rpartition("\r")[2]


def without_void(begun: bytes) -> bytes:
    """A line that has begun, without what its carriage returns have made void for ever."""
    return begun[begun.rstrip(b"\r").rfind(b"\r") + 1 :] if b"\r" in begun else begun


def cut(text: str, limit: int = MAX_LINE) -> Iterator[str]:
    """A line in parts of at most `limit` bytes, each of whole letters; one part if it is short."""
    if len(text) * 4 <= limit:
        yield text
        return
    data = text.encode("utf-8", "replace")
    begin = 0
    while begin < len(data):
        end = letter_border(data, begin + limit)
        yield data[begin:end].decode("utf-8")
        begin = end


def letter_border(data: bytes, end: int) -> int:
    """The last place up to `end` that is not inside a letter; `end` where nobody can tell."""
    if end >= len(data):
        return len(data)
    for back in range(4):
        if end - back > 0 and data[end - back] & 0xC0 != 0x80:
            return end - back
    return end
