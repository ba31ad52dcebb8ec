"""Quantities as people write them: cores, bytes and durations."""

import re
from datetime import timedelta
from decimal import Decimal

_BYTE_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
# Other ways to write them that mean one thing: `16gi`, `4GB`, `512Mb`, `8GiB`.
_OTHER_UNITS = {
    "b": 1,
    **{f"{unit.lower()}b": factor for unit, factor in _BYTE_UNITS.items() if unit},
    **{unit.lower(): factor for unit, factor in _BYTE_UNITS.items() if len(unit) == 2},
}
# And ways that mean two: Docker reads `4g` as 4Gi, Kubernetes `512m` as half a byte.
_TWO_READINGS = {"K": ("k", "Ki"), "m": ("M", "Mi"), "g": ("G", "Gi"), "t": ("T", "Ti")}
_BYTES = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[A-Za-z]*)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)\s*")
_CLOCK = re.compile(r"([0-9]+):([0-9]{1,2})(?::([0-9]{1,2}))?")
_SECONDS = {"s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}


def parse_cores(value: object) -> Decimal:
    """Cores from `2`, `0.5`, `"1.5"` or millicores such as `"250m"`.

    Raises:
        ValueError: the text is not such a quantity.
    """
    text = _text(value)
    number, scale = (text[:-1], 1000) if text.endswith("m") else (text, 1)
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"`{_short(text)}` is no number of cores; write `2`, `0.5` or `250m`")
    return Decimal(number) / scale


def parse_bytes(value: object) -> int:
    """Bytes from `"512Mi"`, `"4Gi"`, `"1.5Gi"`, `"10G"` or a plain number of bytes.

    Also from other ways to write a unit that have one meaning; `size_reading` says which.

    Raises:
        ValueError: the text is not such a quantity, or it has two readings.
    """
    text = _text(value)
    match = _BYTES.fullmatch(text)
    unit = match["unit"] if match else ""
    if match is not None and unit in _TWO_READINGS:
        number, (decimal, binary) = match["number"], _TWO_READINGS[unit]
        raise ValueError(
            f"`{_short(text)}` has two readings; write `{number}{decimal}` (decimal) "
            f"or `{number}{binary}` (binary)"
        )
    factor = _BYTE_UNITS.get(unit) or _OTHER_UNITS.get(unit.lower())
    if match is None or factor is None:
        raise ValueError(
            f"`{_short(text)}` is no size; write a number and one of Ki, Mi, Gi, Ti "
            "(binary) or k, M, G, T (decimal), such as `512Mi`"
        )
    size = Decimal(match["number"]) * factor
    if factor == 1 and size != int(size):
        raise ValueError(
            f"`{_short(text)}` is no whole number of bytes; name a unit, as in `512Mi`"
        )
    return int(size)


def size_reading(text: str) -> str | None:
    """How a size was read that is not written in the units of `parse_bytes`; None if it is.

    `4GB` gives "`4GB` is read as 4,000,000,000 bytes (3.7Gi)".
    """
    match = _BYTES.fullmatch(text.strip())
    if match is None or match["unit"] in _BYTE_UNITS:
        return None
    try:
        size = parse_bytes(text)
    except ValueError:
        return None
    about = about_bytes(size)
    exactly = "" if about == str(size) else f" ({about})"
    return f"`{text.strip()}` is read as {size:,} bytes{exactly}"


def parse_duration(value: object) -> timedelta:
    """A duration from `"90s"`, `"10m"`, `"1h30m"`, `"2d"` or a number of seconds.

    Raises:
        ValueError: the text is not a duration.
    """
    if isinstance(value, timedelta):
        return value
    text = _text(value)
    seconds = Decimal(text) if _NUMBER.fullmatch(text) else _clock_seconds(text)
    if seconds is None:
        seconds = _suffixed_seconds(text)
    try:
        return timedelta(seconds=float(seconds))
    except OverflowError:
        raise ValueError(f"`{_short(text)}` is too long") from None


def format_bytes(size: int) -> str:
    """The shortest exact binary form: `536870912` becomes `512Mi`."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        factor = _BYTE_UNITS[unit]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def about_bytes(size: int) -> str:
    """For people: the largest fitting unit, cut to one decimal: `24684084Ki` is `23.5Gi`."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        tenths = size * 10 // _BYTE_UNITS[unit]
        if tenths >= 10:
            whole, rest = divmod(tenths, 10)
            return f"{whole}.{rest}{unit}" if rest else f"{whole}{unit}"
    return str(size)


def format_duration(duration: timedelta) -> str:
    """`5400 s` becomes `1h30m`; fractions of a second are kept (`0.5s`)."""
    seconds = Decimal(str(duration.total_seconds())).normalize()
    whole = int(seconds)
    parts: list[str] = []
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)):
        count, whole = divmod(whole, factor)
        if count:
            parts.append(f"{count}{unit}")
    rest = whole + seconds % 1
    if rest or not parts:
        parts.append(f"{rest.normalize():f}s")
    return "".join(parts)


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("must be a number or a text such as `512Mi`, `250m` or `1h`")
    return str(value).strip()


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def _clock_seconds(text: str) -> Decimal | None:
    """Of `1:30:00`; `1:30` alone may be hours or minutes, and is refused with both."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    first, second, third = match.groups()
    if third is None:
        raise ValueError(
            f"`{_short(text)}` has two readings; write `{int(first[:9])}m{int(second)}s` "
            f"or `{int(first[:9])}h{int(second)}m`"
        )
    if int(second) > 59 or int(third) > 59:
        raise ValueError(f"`{_short(text)}` is no duration; write `90s`, `10m`, `1h30m` or `2d`")
    return Decimal(first) * 3600 + int(second) * 60 + int(third)


def _suffixed_seconds(text: str) -> Decimal:
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"`{_short(text)}` is no duration; write `90s`, `10m`, `1h30m` or `2d`")
    return sum(
        (
            Decimal(number) / 1000 if unit == "ms" else Decimal(number) * _SECONDS[unit]
            for number, unit in (part.groups() for part in parts)
        ),
        Decimal(0),
    )
