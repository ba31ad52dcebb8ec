"""Quantities as people write them: cores, bytes and durations."""

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation

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
_BYTES = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}


def parse_cores(value: object) -> Decimal:
    """Cores from `2`, `0.5`, `"1.5"` or millicores such as `"250m"`.

    Raises:
        ValueError: the text is not such a quantity.
    """
    text = _text(value)
    number, scale = (text[:-1], 1000) if text.endswith("m") else (text, 1)
    try:
        cores = Decimal(number) / scale
    except InvalidOperation:
        raise ValueError(
            f"`{_short(text)}` is no number of cores; write `2`, `0.5` or `250m`"
        ) from None
    if not cores.is_finite():
        raise ValueError(f"`{_short(text)}` is no number of cores; write `2`, `0.5` or `250m`")
    return cores


def parse_bytes(value: object) -> int:
    """Bytes from `"512Mi"`, `"4Gi"`, `"1.5Gi"`, `"10G"` or a plain number of bytes.

    Raises:
        ValueError: the text is not such a quantity.
    """
    text = _text(value)
    match = _BYTES.fullmatch(text)
    unit = match["unit"] if match else ""
    if match is None or unit not in _BYTE_UNITS:
        raise ValueError(
            f"`{_short(text)}` is no size; write a number and one of Ki, Mi, Gi, Ti "
            "(binary) or k, M, G, T (decimal), such as `512Mi`"
        )
    return int(Decimal(match["number"]) * _BYTE_UNITS[unit])


def parse_duration(value: object) -> timedelta:
    """A duration from `"90s"`, `"10m"`, `"1h30m"`, `"2d"` or a number of seconds.

    Raises:
        ValueError: the text is not a duration.
    """
    if isinstance(value, timedelta):
        return value
    text = _text(value).replace(" ", "")
    seconds = _plain_seconds(text)
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


def _plain_seconds(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite():
        raise ValueError(f"`{_short(text)}` is no duration")
    return number


def _suffixed_seconds(text: str) -> Decimal:
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"`{_short(text)}` is no duration; write `90s`, `10m`, `1h30m` or `2d`")
    return sum(
        (
            Decimal(number) / 1000 if unit == "ms" else Decimal(number) * _SECONDS[unit]
            for number, unit in parts
        ),
        Decimal(0),
    )
